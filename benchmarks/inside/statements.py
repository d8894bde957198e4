"""Count the SQL statements of one login, request, refresh and logout over HTTP."""

from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.inside.migrate import credentials

_CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")


def main() -> dict[str, Any]:
    _, first = _post("token/", credentials(0))  # what only a first request asks is no part of it
    _post("token/refresh/", {"refresh": first["refresh"]})
    login, tokens = _post("token/", credentials(1))
    request = _get("me/", tokens["access"])
    refresh, tokens = _post("token/refresh/", {"refresh": tokens["refresh"]})
    logout, _ = _post("token/blacklist/", {"refresh": tokens["refresh"]})
    return {"login": login, "request": request, "refresh": refresh, "logout": logout}


def _get(path: str, access: str) -> dict[str, int]:
    headers = {"Host": "localhost", "Authorization": f"Bearer {access}"}
    return _counted("get", path, headers=headers)[0]


def _post(path: str, data: dict[str, str]) -> tuple[dict[str, int], dict[str, str]]:
    headers = {"Host": "localhost"}
    return _counted("post", path, data=data, content_type="application/json", headers=headers)


def _counted(method: str, path: str, **request: Any) -> tuple[dict[str, int], dict[str, str]]:
    with CaptureQueriesContext(connection) as captured:
        answer = getattr(Client(), method)(f"/api/{path}", **request)
    if answer.status_code != 200:
        raise AssertionError(f"{path} answered {answer.status_code}: {answer.content!r}")
    control = sum(query["sql"].startswith(_CONTROL) for query in captured)
    return {"statements": len(captured) - control, "transaction_control": control}, answer.json()
