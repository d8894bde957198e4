"""Delete users who never logged in, and count what that takes and leaves."""

import time
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection


def main(count: int) -> dict[str, Any]:
    users: Any = get_user_model()._default_manager
    users.bulk_create(users.model(username=f"guest{number}") for number in range(count))
    guests = users.filter(username__startswith="guest")
    statements = 0

    def counting(execute: Any, *call: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*call)

    with connection.execute_wrapper(counting):
        began = time.perf_counter()
        guests.delete()
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "statements": statements, "rows_left": _rows_left()}


def _rows_left() -> int:
    if not apps.is_installed("tokens"):
        return 0
    return sum(model._base_manager.count() for model in apps.get_app_config("tokens").get_models())
