"""Full speed when alone, gently while others work."""

import math
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

from tokens import cleanup, clock
from tokens.cleanup import batches, pace, removal
from tokens.cleanup.attempts import Attempts
from tokens.models import BlacklistEntry

from .expiring import add_entries
from .private_server import as_user, free_port, needs
from .processes import PATIENCE, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Decide whether others work."""

    def decide(work: Any) -> Any:
        monkeypatch.setattr(pace.Others, "are_busy", lambda self: work)
        return pace.Others("default")

    return decide


@contextmanager
def somebody_else() -> Iterator[Any]:
    other = connection.copy()
    try:
        yield other
    finally:
        other.close()


def write(other: Any) -> None:
    with other.cursor() as cursor:
        cursor.execute("UPDATE tokens_blacklistentry SET expires_at = expires_at")


def test_alone_it_does_not_rest_and_batches_take_three_quarters_of_their_time(others: Any) -> None:
    ours = pace.Pace(others(work=False), batch_size=None, pause=None)
    assert ours.size == 1000
    assert ours.adapt(1000, 0.05, removed=1000) == 0
    assert ours.size == 1500


def test_while_others_work_batches_are_a_twentieth_and_rests_nine_times_as_long(
    others: Any,
) -> None:
    ours = pace.Pace(others(work=True), batch_size=None, pause=None)
    assert ours.adapt(1000, 0.005, removed=1000) == pytest.approx(0.045)
    assert ours.size == 750


@pytest.mark.parametrize(
    ("on_the_way", "each_row", "rows"),
    [(0.02, 2e-6, (500, 500)), (0.02, 1e-3, (50, 80)), (0.001, 2e-6, (1300, 1500))],
    ids=["a long way", "slow rows", "neither"],
)
def test_a_long_way_to_the_database_makes_no_batch_smaller_than_of_use(
    others: Any, on_the_way: float, each_row: float, rows: Any
) -> None:
    ours = pace.Pace(others(work=True), batch_size=None, pause=None)
    for _ in range(30):
        ours.adapt(ours.size, on_the_way + ours.size * each_row, removed=ours.size)
    assert rows[0] <= ours.size <= rows[1]


@pytest.mark.parametrize(
    ("fixed", "each_row", "rows"),
    [
        (0.001, 1e-5, (7_000, 8_000)),
        (0.030, 1e-5, (4_000, 5_000)),
        (0.060, 1e-5, (5_500, 6_500)),
        (0.300, 1e-5, (7_000, 8_000)),
        (0.300, 1e-3, (70, 80)),
    ],
    ids=["cheap", "less than half", "more than half", "more than all", "slow rows"],
)
def test_a_machine_that_is_busy_makes_no_batch_smaller_than_of_use(
    others: Any, fixed: float, each_row: float, rows: Any
) -> None:
    """A commit costs the same whatever the size: the rows take as long as that, not less."""
    ours = pace.Pace(others(work=False), batch_size=None, pause=None)
    for _ in range(40):
        ours.adapt(ours.size, fixed + ours.size * each_row, removed=ours.size)
    assert rows[0] <= ours.size <= rows[1]


def test_one_batch_that_was_stuck_spoils_neither_the_size_nor_the_time_of_those_after(
    others: Any,
) -> None:
    for stuck in range(6):
        ours, longest = pace.Pace(others(work=False), batch_size=None, pause=None), 0.0
        for number in range(60):
            seconds = 0.001 + ours.size * 1e-5 + (0.5 if number == stuck else 0)
            if number > stuck:
                longest = max(longest, seconds)
            ours.adapt(ours.size, seconds, removed=ours.size)
        assert 6_500 <= ours.size <= 8_000, stuck
        assert longest < 0.12, stuck


def test_batches_that_find_few_rows_make_none_larger_than_those_that_find_many(
    others: Any,
) -> None:
    ours = pace.Pace(others(work=False), batch_size=None, pause=None)
    for _ in range(20):
        ours.adapt(ours.size, 0.001, removed=0)
    assert ours.size == pace.FIRST_BATCH, "nobody knows yet what a row takes"
    for _ in range(20):
        ours.adapt(ours.size, 0.001 + ours.size * 1e-5, removed=ours.size)
    assert 7_000 <= ours.size <= 8_000
    for _ in range(20):
        ours.adapt(ours.size, 0.001, removed=1)
    assert ours.size <= 10_000


def test_a_size_is_exact_if_it_is_given_or_the_server_refuses_more(others: Any) -> None:
    idle = others(work=False)
    assert pace.Pace(idle, batch_size=7, pause=None).is_exact
    ours = pace.Pace(idle, batch_size=None, pause=None)
    assert not ours.is_exact
    ours.never_exceed(500)
    assert ours.is_exact


def test_a_batch_that_was_stuck_is_no_reason_to_rest_for_long(others: Any) -> None:
    assert (
        pace.Pace(others(work=True), batch_size=None, pause=None).adapt(1000, 60.0, removed=1000)
        == 5
    )


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 100.0])
def test_a_size_is_at_most_doubled_or_halved_and_has_limits(others: Any, seconds: float) -> None:
    ours = pace.Pace(others(work=False), batch_size=None, pause=None)
    for size in (10, 1000, 50_000):
        ours.adapt(size, seconds, removed=size)
        assert max(10, size // 2) <= ours.size <= min(100_000, size * 2)


@pytest.mark.parametrize("pause", [0, 0.5])
def test_a_pause_that_is_given_counts_whatever_others_do(others: Any, pause: Any) -> None:
    ours = pace.Pace(others(work=True), batch_size=None, pause=pause)
    assert ours.adapt(1000, 0.05, removed=1000) == pause
    assert ours.size == 1500


def test_a_size_that_is_given_stays_and_the_rests_are_kept(others: Any) -> None:
    ours = pace.Pace(others(work=True), batch_size=7, pause=None)
    assert ours.adapt(7, 0.5, removed=7) == pytest.approx(4.5)
    assert ours.size == 7


def test_a_run_is_slower_while_others_work(monkeypatch: pytest.MonkeyPatch, others: Any) -> None:
    others(work=True)
    add_entries(12)
    rests = []
    monkeypatch.setattr(removal.Work, "_rest", lambda self, seconds: rests.append(seconds))
    assert cleanup.run(batch_size=5).removed == 12
    assert len(rests) == 2
    assert all(seconds > 0 for seconds in rests)


def watching() -> pace.Others:
    """Ask each time, and have asked once: what was before does not count."""
    others = pace.Others("default", ask_first=0, ask_every=0)
    others.are_busy()
    return others


def are_seen_at_rest(others: pace.Others) -> bool:
    """Return whether others are no longer seen; MySQL counts whole seconds."""
    counts_seconds = connection.vendor == "mysql" and not connection.mysql_is_mariadb  # type: ignore[attr-defined]
    for _ in range(60 if counts_seconds else 1):
        time.sleep(0.05)
        if not others.are_busy():
            return True
    return False


@pytest.mark.slow
def test_others_are_taken_to_work_until_it_has_watched_for_a_moment() -> None:
    others = pace.Others("default", ask_first=1)
    assert others.are_busy()
    assert others.are_busy()
    time.sleep(1)
    assert not others.are_busy()


def test_a_first_batch_that_was_slow_is_no_reason_to_rest_until_long_after_others_are_known() -> (
    None
):
    others = pace.Others("default", ask_first=0.5, ask_every=1)
    ours = pace.Pace(others, batch_size=None, pause=None)
    assert 0.2 < ours.adapt(1000, 1.0, removed=1000) <= 0.5
    time.sleep(0.5)
    others.are_busy()
    assert others.unknown_for() == math.inf


def test_others_are_seen_while_they_work_and_not_longer() -> None:
    add_entries(1)
    with somebody_else() as other:
        write(other)
        time.sleep(0.05)
        others = watching()

        def seen() -> Any:
            # Asked again, because a machine that stalls between the two asks too late.
            write(other)
            return others.are_busy()

        for _ in range(2):
            assert are_seen_at_rest(others)
            assert any(seen() for _ in range(50))
            time.sleep(0.05)
            others.are_busy()  # a question counts what came just before the last one, too


def test_our_own_writes_are_nobody_elses() -> None:
    others = watching()
    add_entries(5)
    batches.delete(BlacklistEntry.objects.all(), clock.now(), limit=2)
    assert not others.are_busy()


def test_others_are_asked_for_at_most_twice_a_second(statements: Callable[[], Any]) -> None:
    others = pace.Others("default")
    with statements() as ran:
        for _ in range(10):
            others.are_busy()
    assert len(ran) <= 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="knows who may see what")
def test_others_whose_work_may_not_be_seen_are_taken_to_work() -> None:
    role = f"tokens_test_{os.getpid()}"
    with connection.cursor() as cursor, somebody_else() as other:
        cursor.execute(f"CREATE ROLE {role}")
        try:
            cursor.execute(f"SET ROLE {role}")
            others = watching()
            assert not others.are_busy()
            other.ensure_connection()
            time.sleep(0.05)
            assert others.are_busy()
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute(f"DROP ROLE {role}")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL can be told not to")
def test_others_whose_work_the_server_does_not_note_are_taken_to_work() -> None:
    with somebody_else() as other:
        with other.cursor() as cursor:
            cursor.execute("SET track_activities = off")
        time.sleep(0.05)
        assert watching().are_busy()


@pytest.mark.skipif(connection.vendor != "mysql", reason="knows who may see what")
def test_others_whom_mariadb_does_not_show_are_taken_to_work() -> None:
    if not connection.mysql_is_mariadb:
        pytest.skip("MySQL does not tell")
    user, direct = f"tokens_test_{os.getpid()}", connections["default"]
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with direct.cursor() as cursor:
        cursor.execute(f"CREATE USER {user}")
        cursor.execute(f"GRANT ALL ON {name}.* TO {user}")
    limited = direct.copy()
    limited.settings_dict = direct.settings_dict | {"USER": user, "PASSWORD": ""}
    connections["default"] = limited
    try:
        time.sleep(0.05)
        assert watching().are_busy()
    finally:
        limited.close()
        connections["default"] = direct
        with direct.cursor() as cursor:
            cursor.execute(f"DROP USER {user}")


# Behind a pooler that gives each transaction another connection of the server


@pytest.fixture
def pooled() -> Iterator[int]:
    """Start a pgbouncer that goes round its connections; gives its port."""
    [program] = needs(shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"))
    own, port = connection.settings_dict, free_port()
    names = ("HOST", "PORT", "USER", "PASSWORD")
    server = " ".join(f"{name.lower()}={own[name]}" for name in names if own[name])
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write(
            f"[databases]\n* = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\nserver_round_robin = 1\n"
        )
        file.flush()
        Path(file.name).chmod(0o644)
        child = subprocess.Popen(
            [*as_user("postgres").split(), program, "-q", file.name], stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: _listens(port))
            yield port
        finally:
            child.terminate()
            child.wait(PATIENCE)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


@pytest.fixture
def spread(pooled: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Lead the test's connection by the pooler; gives four more connections of the kind."""
    direct = connections["default"]
    direct.close()

    def connect() -> Any:
        made = direct.copy()
        made.settings_dict = made.settings_dict | {"HOST": "127.0.0.1", "PORT": pooled}
        return made

    more = [connect() for _ in range(4)]
    connections["default"] = connect()
    try:
        # The pooler opens a connection of the server for each that works at the same time.
        for other in more:
            other.set_autocommit(False)
            other.cursor().execute("SELECT 1")
        for other in more:
            other.rollback()
            other.set_autocommit(True)
        yield more
    finally:
        for made in (*more, connections["default"]):
            made.close()
        connections["default"] = direct


@pytest.mark.slow
@pytest.mark.skipif(connection.vendor != "postgresql", reason="pgbouncer speaks to PostgreSQL")
def test_behind_a_pooler_that_spreads_statements_a_run_does_not_take_itself_for_others(
    spread: list[Any],
) -> None:
    add_entries(60)
    others, attempts = pace.Others("default", ask_first=0, ask_every=0), Attempts("default")
    attempts.begun = others.note_our_own
    processes, answers = set(), []

    def one_batch() -> None:
        def delete(_attempt: int) -> None:
            batches.delete(BlacklistEntry.objects.all(), clock.now(), limit=2)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                processes.update(cursor.fetchone())

        attempts.write(delete)

    others.are_busy()
    for number in range(20):
        for _ in range(number % 4):
            one_batch()
        answers.append(others.are_busy())
    assert len(processes) > 2, "the pooler did not spread them"
    assert answers == [False] * 20
    for _ in range(10):
        one_batch()
        write(spread[0])
        answers.append(others.are_busy())
    assert any(answers), "nor is it blind to others"
