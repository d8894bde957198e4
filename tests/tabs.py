"""Browsers that keep tokens in cookies, played by Django's test client with its CSRF checks on."""

from http.cookies import Morsel
from typing import Any

from rest_framework.test import APIClient

from .conftest import PASSWORD

ORIGIN = "http://testserver"


class Tab:
    """A tab of a browser. Another one of the same browser shares the cookies of ``like``."""

    def __init__(self, *, prefix: str = "/api/", like: "Tab | None" = None) -> None:
        self.api = APIClient(enforce_csrf_checks=True, HTTP_ORIGIN=ORIGIN)
        self.prefix = prefix
        if like:
            self.api.cookies = like.api.cookies
        self.answer: Any = None

    def send(self, method: str, name: str, data: Any = None, **headers: Any) -> Any:
        csrf = self.api.cookies["csrftoken"].value if "csrftoken" in self.api.cookies else ""
        path = name if name.startswith("/") else self.prefix + name
        self.answer = getattr(self.api, method)(
            path, data, format="json", **{"HTTP_X_CSRFTOKEN": csrf, **headers}
        )
        return self.answer

    def post(self, name: str, data: Any = None, **headers: Any) -> Any:
        return self.send("post", name, data, **headers)

    def log_in(self, username: str = "ada", **more: Any) -> Any:
        body = {"username": username, "password": PASSWORD, **more}
        assert self.post("token/", body).status_code in (200, 403)
        return self.answer if self.answer.status_code == 200 else self.post("token/", body)

    def refresh(self) -> Any:
        return self.post("token/refresh/")

    def token(self, kind: str) -> str:
        """Return what the browser has in its cookie; no script could."""
        return next((one.value for one in _of(self.api.cookies, kind)), "")

    def cookie(self, kind: str) -> Morsel[str] | None:
        """Return the cookie that the last answer sets or deletes."""
        return next(iter(_of(self.answer.cookies, kind)), None)

    def deleted(self) -> set[str]:
        """Return the kinds of cookies that the last answer deletes."""
        found = {kind: self.cookie(kind) for kind in ("refresh", "access")}
        return {kind for kind, one in found.items() if one is not None and one["max-age"] == 0}


def _of(cookies: Any, kind: str) -> list[Morsel[str]]:
    return [one for name, one in cookies.items() if name.endswith(f"tokens_{kind}")]


def attributes(cookie: Any) -> dict[str, Any]:
    """Return what a browser compares to find the cookie to delete, and what it must respect."""
    found = {name: cookie[name] for name in ("path", "domain", "samesite", "secure", "httponly")}
    return {"name": cookie.key, **found}
