"""Remove what has expired, one way, and tell what it took."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO
from time import monotonic, perf_counter
from typing import Any
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import Error, connection

from benchmarks.inside import memory, tables


def main(way: str, at: float = 0.0, **options: Any) -> dict[str, Any]:
    """Remove from the moment ``at`` of the monotonic clock on; ``options`` are the command's."""
    get_user_model()._default_manager.exists()  # connects
    time.sleep(max(0.0, at - monotonic()))
    watch = _Watch()
    before = memory.start_over()
    began = monotonic()
    try:
        with connection.execute_wrapper(watch):
            facts = _WAYS[way](**options)
    except Error as error:
        facts = {"error": f"{type(error).__name__}: {error}"[:200]}
    ended = monotonic()
    return facts | {
        "began": began,
        "ended": ended,
        "seconds": ended - began,
        "memory": memory.peak() - before,
        "statements": watch.statements,
        "longest_statement": watch.longest,
        "left": tables.rows(),
    }


class _Watch:
    """Counts the statements and keeps the seconds of the longest."""

    def __init__(self) -> None:
        self.statements = 0
        self.longest = 0.0

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.statements += 1
        began = perf_counter()
        try:
            return execute(*arguments)
        finally:
            self.longest = max(self.longest, perf_counter() - began)


def _ours(**options: Any) -> dict[str, Any]:
    output = StringIO()
    with suppress(CommandError):  # it failed, or stopped early; the report says so
        call_command("cleanup_tokens", format="json", stdout=output, **options)
    report = json.loads(output.getvalue())
    names = ("outcome", "removed", "longest_batch", "batches")
    failed = {"error": report["error"]} if report["outcome"] == "failed" else {}
    orders = dict.fromkeys([report["entries_order"], report["sessions_order"]])
    return {name: report[name] for name in names} | {"order": ", ".join(orders)} | failed


def _ours_by_index(**options: Any) -> dict[str, Any]:
    """As if nothing were known about the tables."""
    from tokens.databases import Position

    with patch("tokens.databases.base.first", lambda _sizes, _share: Position()):
        return _ours(**options)


def _simplejwt() -> dict[str, Any]:
    call_command("flushexpiredtokens")
    return {}


def _oauth() -> dict[str, Any]:
    call_command("cleartokens")
    return {}


def _plain_delete() -> dict[str, Any]:
    from tokens.models import BlacklistEntry, TokenSession

    now = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    with connection.cursor() as cursor:
        for model in (BlacklistEntry, TokenSession):
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"DELETE FROM {table} WHERE expires_at < %s", [now])
    return {}


_WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    "ours": _ours,
    "ours by index": _ours_by_index,
    "plain delete": _plain_delete,
    "simplejwt": _simplejwt,
    "oauth": _oauth,
}
