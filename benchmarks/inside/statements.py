"""Count the SQL statements of one login, refresh and logout over HTTP."""

from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.inside.migrate import credentials

_CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")


def main() -> dict[str, Any]:
    _post("token/", credentials(0))  # what only a first request asks is no part of it
    login, tokens = _post("token/", credentials(1))
    refresh, tokens = _post("token/refresh/", {"refresh": tokens["refresh"]})
    logout, _ = _post("token/blacklist/", {"refresh": tokens["refresh"]})
    return {"login": login, "refresh": refresh, "logout": logout}


def _post(path: str, data: dict[str, str]) -> tuple[dict[str, int], dict[str, str]]:
    with CaptureQueriesContext(connection) as captured:
        answer = Client().post(
            f"/api/{path}", data, content_type="application/json", headers={"Host": "localhost"}
        )
    if answer.status_code != 200:
        raise AssertionError(f"{path} answered {answer.status_code}: {answer.content!r}")
    control = sum(query["sql"].startswith(_CONTROL) for query in captured)
    return {"statements": len(captured) - control, "transaction_control": control}, answer.json()
