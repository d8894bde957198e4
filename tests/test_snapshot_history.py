"""The promise of cached checks, measured: what was revoked is refused at the latest T later.

Processes check while others revoke, and each notes when. The longest time from "revocation
answered" to "a check that began then was accepted" is printed. SNAPSHOT_CHECKS=1000000 checks and
a hundredth as many revocations are the full treatment; SNAPSHOT_MILLION=1 loads a million entries.
"""

import math
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction

from tokens import blacklist, clock, snapshot
from tokens.claims import Claims
from tokens.keys import new_sid
from tokens.snapshot import DatabaseSnapshot, Limits

from .databases import THOROUGH
from .processes import PATIENCE
from .threads import each_at_once

# One after the other: a database server lets no more than a hundred in.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("many at once"),
    pytest.mark.slow,
]

CHECKS = int(os.environ.get("SNAPSHOT_CHECKS", "20000" if THOROUGH else "8000"))
MILLION = bool(os.environ.get("SNAPSHOT_MILLION"))
PROCESSES = 8
MAX_AGE = 0.5
SECONDS = 4.0  # at least so long, that is several snapshots

fork = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def cached(settings: Any) -> Iterator[None]:
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=MAX_AGE)
    snapshot.reset()
    yield
    snapshot.reset()


def limit(**limits: float) -> None:
    """Begin anew with other limits, here and in the processes that are forked from now on."""
    changed = replace(Limits(), **limits)  # type: ignore[arg-type]
    snapshot.reset(DatabaseSnapshot("default", limits=changed))


@dataclass(frozen=True)
class Seen:
    """What one process saw: how many checks, and the longest that one was wrong for, in seconds."""

    checks: int
    stale: float
    wrong_at_last: int  # revoked tokens that were still accepted when all was over
    facts: snapshot.Facts


class History:
    """Tokens, and when the revocation of each was answered; shared by processes."""

    def __init__(self, count: int) -> None:
        now = clock.from_epoch(int(time.time()))
        self.tokens = [
            Claims(
                jti=f"jti-{number}",
                sid=new_sid(),
                user_id="1",
                issuer="",
                issued_at=now,
                expires_at=now + timedelta(minutes=5),
            )
            for number in range(count)
        ]
        self.answered = fork.RawArray("d", count)  # zero: not revoked
        self.latest = fork.RawArray("i", 64)  # tokens that were revoked lately

    def revoke(self, number: int) -> None:
        self._write(number)
        self.answer(number)

    def _write(self, number: int) -> None:
        claims = self.tokens[number]
        blacklist.revoke_session(claims.sid or "", expires_at=claims.expires_at + timedelta(days=1))

    def answer(self, number: int) -> None:
        self.answered[number] = clock.elapsed()
        self.latest[number % len(self.latest)] = number

    def hold(self, numbers: list[int], *, seconds: float) -> None:
        """Revoke in one transaction that stays open for so long."""
        with transaction.atomic():
            for number in numbers:
                self._write(number)
            time.sleep(seconds)
        for number in numbers:
            self.answer(number)

    def check(self, draw: random.Random) -> float:
        """Check one token, rather one revoked lately; return for how long the answer was wrong."""
        if draw.random() < 0.7:
            number = self.latest[draw.randrange(len(self.latest))]
        else:
            number = draw.randrange(len(self.tokens))
        answered, begun = self.answered[number], clock.elapsed()
        if blacklist.is_revoked(self.tokens[number]) or not answered:
            return 0.0
        return begun - answered

    def wrong(self) -> int:
        """Return how many revoked tokens are accepted now."""
        return sum(
            not blacklist.is_revoked(claims)
            for claims, answered in zip(self.tokens, self.answered, strict=True)
            if answered
        )


def work(
    history: History,
    answers: Any,
    over: Any,
    done: Any,
    mine: list[int],
    checks: int,
    every: int,
    forget_at: float,
) -> None:
    """Check, and revoke ``mine`` in between, until ``checks`` are made and it is ``over``."""
    draw = random.Random(os.getpid())  # noqa: S311 (no secret)
    made, stale, mine = 0, 0.0, mine[::-1]
    while made < checks or mine or not over.is_set():
        stale = max(stale, history.check(draw))
        made += 1
        if clock.elapsed() >= forget_at:
            snapshot.forget(using="default")
            forget_at = math.inf
        if mine and made % every == 0:
            history.revoke(mine.pop())
        if made >= checks:
            time.sleep(0.005)  # the others need the processor
    over.wait()
    done.wait(900)  # nobody revokes any more
    time.sleep(MAX_AGE * 1.2)
    answers.put(Seen(made, stale, history.wrong(), snapshot.facts()))
    connections.close_all()


@contextmanager
def workers(
    history: History,
    *,
    count: int = PROCESSES,
    checks: int = 0,
    revoking: Callable[[int], list[int]] = lambda _number: [],
    every: int = 1,
    forget_after: float = math.inf,
) -> Iterator[tuple[list[Any], list[Seen]]]:
    """Let processes check while the block runs; fills the list of what they saw after it.

    After ``forget_after`` seconds they forget their snapshots, and read all recent entries again.
    """
    forget_at = clock.elapsed() + forget_after
    answers, over, done = fork.Queue(), fork.Event(), fork.Barrier(count)
    connections.close_all()
    children = [
        fork.Process(
            target=work,
            args=(history, answers, over, done, revoking(number), checks, every, forget_at),
        )
        for number in range(count)
    ]
    seen: list[Seen] = []
    for child in children:
        child.start()
    try:
        yield children, seen
    finally:
        over.set()
        try:
            seen.extend(answers.get(timeout=900) for _ in children)
        finally:
            for child in children:
                child.join(PATIENCE)
                if child.is_alive():
                    child.kill()


def report(capsys: Any, title: str, seen: list[Seen], revoked: int) -> None:
    with capsys.disabled():
        print(
            f"\n{connection.vendor}, {title}: {sum(one.checks for one in seen):,} checks,"
            f" {revoked:,} revocations, longest from answered to accepted"
            f" {max(one.stale for one in seen):.3f} s (at most {MAX_AGE} s);"
            f" {sum(one.facts.from_snapshot for one in seen):,} answered by a snapshot,"
            f" {sum(one.facts.without_snapshot for one in seen):,} without one,"
            f" {sum(one.facts.loads for one in seen):,} loads,"
            f" {sum(one.facts.failures for one in seen)} failures"
        )


def test_eight_processes_check_and_revoke(capsys: Any) -> None:
    revocations = max(CHECKS // 100, 200)
    history = History(revocations * 2)
    started = time.monotonic()
    with workers(
        history,
        checks=CHECKS // PROCESSES,
        revoking=lambda number: list(range(number, revocations, PROCESSES)),
        every=max(CHECKS // revocations, 1),
    ) as (_, seen):
        time.sleep(max(0.0, SECONDS - (time.monotonic() - started)))
    report(capsys, "eight processes", seen, revocations)
    assert sum(one.checks for one in seen) >= CHECKS
    assert sum(map(bool, history.answered)) == revocations
    assert max(one.stale for one in seen) <= MAX_AGE
    assert sum(one.wrong_at_last for one in seen) == 0
    # One process may be starved, and then it rests from loading; all together can't be.
    assert sum(one.facts.loads for one in seen) > PROCESSES
    assert sum(one.facts.from_snapshot for one in seen) > 0


@pytest.mark.parametrize(
    ("patience", "slice_"),
    [
        pytest.param(2.0, 10, id="corrected, the youngest"),
        pytest.param(30.0, Limits().slice, id="patient, all entries", marks=pytest.mark.thorough),
        pytest.param(30.0, 10, id="patient, the youngest", marks=pytest.mark.thorough),
        pytest.param(2.0, Limits().slice, id="corrected, all entries", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="one transaction writes at a time")
def test_transactions_that_stay_open_while_others_commit_are_not_missed(
    patience: float, slice_: int, capsys: Any, settings: Any
) -> None:
    """With little patience and no margin, entries are too old to be read when they are committed,
    unless they get a new moment then."""
    limit(patience=patience, slice=slice_)
    if patience < 5:
        settings.TOKENS_CLEANUP_MARGIN = timedelta(0)
    history = History(600)
    held = [0.05, 0.3, 1.0, 2.0, 3.0, 4.0, 5.0]

    def in_between() -> None:
        for number in range(400, 600):
            history.revoke(number)
            time.sleep(0.025)

    # All recent entries are read while transactions are open that made their entries long before.
    with workers(history, count=3, forget_after=MAX_AGE * 2 + 2.5) as (_, seen):
        time.sleep(MAX_AGE * 2)  # everybody has a snapshot
        each_at_once(
            [
                lambda seconds=seconds, first=index * 50: history.hold(  # type: ignore[misc]
                    list(range(first, first + 50)), seconds=seconds
                )
                for index, seconds in enumerate(held)
            ]
            + [in_between]
        )
    report(capsys, f"open for up to {max(held)} s", seen, 550)
    assert sum(map(bool, history.answered)) == 550
    assert max(one.stale for one in seen) <= MAX_AGE
    assert sum(one.wrong_at_last for one in seen) == 0


@pytest.mark.any_database
@pytest.mark.parametrize(
    "slice_",
    [
        pytest.param(Limits().slice, id="all entries", marks=pytest.mark.thorough),
        pytest.param(10, id="the youngest"),
    ],
)
def test_a_process_that_was_stopped_does_not_answer_from_its_old_snapshot(
    slice_: int, capsys: Any
) -> None:
    limit(slice=slice_)
    rounds = 3 if THOROUGH else 2
    history = History(rounds * 30)
    with workers(history, count=2) as (children, seen):
        time.sleep(MAX_AGE * 2)
        for round_ in range(rounds):
            os.kill(children[0].pid, signal.SIGSTOP)
            try:
                for number in range(round_ * 30, round_ * 30 + 30):
                    history.revoke(number)
                time.sleep(MAX_AGE * 2)
            finally:
                os.kill(children[0].pid, signal.SIGCONT)
            time.sleep(MAX_AGE)
    report(capsys, "one stopped for a while", seen, rounds * 30)
    assert max(one.stale for one in seen) <= MAX_AGE
    assert sum(one.wrong_at_last for one in seen) == 0


@pytest.mark.skipif(not MILLION, reason="set SNAPSHOT_MILLION=1")
@pytest.mark.skipif(connection.vendor == "sqlite", reason="needs a server to make the rows")
def test_loading_a_million_entries_stalls_nobody(capsys: Any, settings: Any) -> None:
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=60)
    _insert_a_million()
    longest, over = [0.0], threading.Event()

    def tick() -> None:
        before = time.perf_counter()
        while not over.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            longest[0], before = max(longest[0], now - before), now

    thread = threading.Thread(target=tick)
    thread.start()
    begun = time.perf_counter()
    try:
        assert snapshot.refuses(History(1).tokens[0], using="default") is False
    finally:
        over.set()
        thread.join()
    with capsys.disabled():
        print(
            f"\n{connection.vendor}, {snapshot.facts().size:,} entries loaded in"
            f" {time.perf_counter() - begun:.1f} s, others stalled for {longest[0]:.3f} s at most"
        )
    assert snapshot.facts().size >= 1_000_000
    assert longest[0] < 0.5


def _insert_a_million() -> None:
    key = {
        "postgresql": "gen_random_uuid()",
        "mysql": "insert(insert(md5(number), 13, 1, '4'), 17, 1, '9')",
    }[connection.vendor]
    numbers = {
        "postgresql": "generate_series(1, 1000000) AS number",
        "mysql": "(SELECT seq AS number FROM seq_1_to_1000000) AS numbers",
    }[connection.vendor]
    ago = {
        "postgresql": "now() - (1000000 - number) * interval '600 microseconds'",
        "mysql": "utc_timestamp(6) - interval (1000000 - number) * 600 microsecond",
    }[connection.vendor]
    column = connection.ops.quote_name("key")
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO tokens_blacklistentry"
            f" ({column}, scope, subject, reason, created_at, expires_at)"
            f" SELECT {key}, 'session', 's', 'logout', {ago}, '2040-01-01' FROM {numbers}"
        )
        # As the database does by itself after a while.
        cursor.execute(f"ANALYZE {'TABLE ' * (connection.vendor == 'mysql')}tokens_blacklistentry")
