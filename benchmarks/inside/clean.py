"""Remove what has expired, one way, and tell what it took."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from time import perf_counter
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import Error, connection

from benchmarks.inside import memory, tables


def main(way: str) -> dict[str, Any]:
    get_user_model()._default_manager.exists()  # connects
    counter = _Counter()
    before = memory.start_over()
    began = perf_counter()
    try:
        with connection.execute_wrapper(counter):
            facts = _WAYS[way]()
    except Error as error:
        facts = {"error": f"{type(error).__name__}: {error}"[:200]}
    seconds = perf_counter() - began
    return facts | {
        "seconds": seconds,
        "memory": memory.peak() - before,
        "statements": counter.statements,
        "left": tables.rows(),
    }


class _Counter:
    def __init__(self) -> None:
        self.statements = 0

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.statements += 1
        return execute(*arguments)


def _ours() -> dict[str, Any]:
    output = StringIO()
    call_command("cleanup_tokens", format="json", stdout=output)
    report = json.loads(output.getvalue())
    return {"longest_batch": report["longest_batch"], "batches": report["batches"]}


def _simplejwt() -> dict[str, Any]:
    call_command("flushexpiredtokens")
    return {}


def _plain_delete() -> dict[str, Any]:
    from tokens.models import BlacklistEntry

    now = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    table = BlacklistEntry._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE expires_at < %s", [now])
    return {}


_WAYS = {"ours": _ours, "simplejwt": _simplejwt, "plain delete": _plain_delete}
