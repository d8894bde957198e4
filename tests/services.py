"""Services that ask about tokens: who they are, and what they send."""

from base64 import b64encode
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Permission
from rest_framework.test import APIClient

from .conftest import PASSWORD


class Machine:
    """A caller with a right and no row in the database, as one with an API key may be."""

    is_authenticated = True
    pk = None

    def __init__(self, *rights: str) -> None:
        self.rights = {"tokens.introspect_token", *rights}

    def has_perm(self, name: str) -> bool:
        return name in self.rights


class Service:
    """A client that calls as ``caller``."""

    def __init__(self, caller: Any) -> None:
        self.api = APIClient()
        self.api.force_authenticate(caller)

    def introspect(self, token: object, **more: str) -> Any:
        return self.api.post("/api/introspect/", {"token": str(token)} | more)

    def active(self, token: object) -> bool:
        answer = self.introspect(token)
        assert answer.status_code == 200, answer.content
        return bool(answer.json()["active"])

    def feed(self, **query: Any) -> Any:
        return self.api.get("/api/revocations/", query)


def make_service(*rights: str, name: str = "gateway") -> AbstractUser:
    """Return a new user with these rights."""
    service = get_user_model().objects.create_user(name, password=PASSWORD)
    service.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return service


def basic(user: AbstractUser, password: str = PASSWORD) -> dict[str, Any]:
    """Return the header with which ``user`` calls."""
    pair = f"{user.get_username()}:{password}".encode()
    return {"HTTP_AUTHORIZATION": f"Basic {b64encode(pair).decode()}"}


def form(path: str, body: str, **headers: Any) -> Any:
    """Send a form as it stands."""
    kind = "application/x-www-form-urlencoded"
    return APIClient().post(f"/api/{path}/", body, content_type=kind, **headers)
