"""Rows that expire, for the tests of the cleanup."""

from datetime import datetime, timedelta

import pytest

from tokens import clock
from tokens.databases import Order, Position, base
from tokens.databases.orders import Sizes
from tokens.keys import uuid7
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

LONG_AGO = timedelta(days=-2)
IN_A_WHILE = timedelta(days=2)


def add_entries(count: int, *, ends: timedelta = LONG_AGO, **fields: object) -> None:
    moment = clock.now() + ends
    BlacklistEntry.objects.bulk_create(
        BlacklistEntry(
            **{"scope": "session", "subject": "s", "reason": "logout", "key": uuid7()}
            | {"expires_at": moment}
            | fields
        )
        for _ in range(count)
    )


def add_sessions(count: int, *, ends: timedelta = LONG_AGO) -> None:
    moment = clock.now() + ends
    TokenSession.objects.bulk_create(
        TokenSession(sid=uuid7(), user_id=1, refresh_jti="j", expires_at=moment)
        for _ in range(count)
    )


def add_run(*, ago: timedelta, outcome: str = "succeeded", slot: int | None = None) -> CleanupRun:
    moment: datetime = clock.now() - ago
    return CleanupRun.objects.create(
        started_at=moment,
        heartbeat_at=moment,
        finished_at=None if slot else moment,
        outcome=outcome,
        trigger="command",
        slot=slot,
    )


def in_order(monkeypatch: pytest.MonkeyPatch, order: Order) -> None:
    """Let the cleanup go through tables in this order, however few rows have expired."""

    def first(sizes: Sizes, _share: float) -> Position:
        if order is Order.INDEX or sizes.last is None:
            return Position()
        return Position(order, last=sizes.last)

    monkeypatch.setattr(base, "first", first)
