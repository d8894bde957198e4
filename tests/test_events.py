"""What the cleanup tells the log and its listeners."""

import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models.signals import post_delete

from project.settings import BASE_DIR
from tests.deleting import replace_batches
from tokens import cleanup, clock, signals
from tokens.cleanup import CleanupReport, lease
from tokens.models import BlacklistEntry, CleanupRun, TokenSession
from tokens.schedule.crontab import job as crontab

from .expiring import LONG_AGO, add_entries, add_run, add_sessions

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_waiting"),
]

# What every record has that the logging module makes.
PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
REPORT = {field.name for field in fields(CleanupReport)}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, logger="tokens")
    return caplog


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, cutoff: Any, **more: Any) -> None:
        raise OperationalError("disk full\nDETAIL: a row of somebody")

    replace_batches(monkeypatch, fail)


def told(log: Any) -> Any:
    """Return the fields of each record, as a formatter for JSON finds them."""
    return [
        {name: value for name, value in vars(record).items() if name not in PLAIN}
        for record in log.records
    ]


def events(log: Any) -> Any:
    return [record.event for record in log.records]


# Records in the log


def test_each_record_of_a_run_has_the_fields_of_the_report(log: Any) -> None:
    add_entries(3)
    add_sessions(2)
    report = cleanup.run(trigger="lifespan", batch_size=2)
    begin, end = told(log)
    assert begin.keys() == end.keys() == REPORT | {"event", "using", "removed"}
    assert (begin["event"], begin["outcome"], begin["removed"]) == ("cleanup_started", "running", 0)
    assert (end["event"], end["outcome"]) == ("cleanup_finished", "succeeded")
    assert (end["entries_removed"], end["sessions_removed"], end["removed"]) == (3, 2, 5)
    assert (end["batches"], end["trigger"], end["using"]) == (report.batches, "lifespan", "default")
    assert begin["run_id"] == end["run_id"] == report.run_id == CleanupRun.objects.get().pk


def test_a_run_that_stops_early_tells_why(log: Any) -> None:
    add_entries(3)
    cleanup.run(max_seconds=0)
    end = told(log)[-1]
    assert (end["outcome"], end["stopped"]) == ("partial", "out of time")


@pytest.mark.usefixtures("broken")
def test_a_run_that_fails_tells_the_attempts_and_the_error(log: Any) -> None:
    add_entries(3)
    cleanup.run()
    assert events(log) == ["cleanup_started", "retry", "retry", "retry", "cleanup_failed"]
    _, *attempts, end = told(log)
    assert attempts == [
        {
            "event": "retry",
            "using": "default",
            "attempt": attempt,
            "wait": 0,
            "error": "OperationalError: disk full",
        }
        for attempt in (1, 2, 3)
    ]
    assert (end["outcome"], end["error"]) == ("failed", "OperationalError: disk full")


def test_another_run_at_work_is_told_with_the_same_fields(log: Any) -> None:
    add_run(ago=timedelta(0), outcome="running", slot=1)
    cleanup.run(trigger="celery")
    [record] = told(log)
    assert record.keys() == REPORT | {"event", "using", "removed"}
    assert (record["event"], record["outcome"]) == ("cleanup_skipped", "skipped")
    assert (record["skipped"], record["trigger"]) == ("running elsewhere", "celery")


def test_a_run_that_is_not_due_tells_nothing(log: Any) -> None:
    add_run(ago=timedelta(hours=1))
    assert cleanup.run(if_due=True).skipped == "not due"
    assert log.records == []


@pytest.mark.usefixtures("broken")
def test_a_tick_that_fails_tells_its_trigger(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crontab, "_fail_the_process", lambda message: None)
    add_entries(1)
    with pytest.raises(CommandError):
        crontab.tick()
    record = told(log)[-1]
    assert (record["event"], record["trigger"]) == ("tick_failed", "crontab")
    assert record["error"] == "The cleanup failed: OperationalError: disk full"


@contextmanager
def listening(signal: Any, receiver: Any, **arguments: Any) -> Iterator[None]:
    signal.connect(receiver, weak=False, **arguments)
    try:
        yield
    finally:
        assert signal.disconnect(receiver, **arguments)


def test_the_slow_path_is_told_once_for_each_run(log: Any) -> None:
    add_entries(5)
    add_sessions(5)
    with listening(post_delete, lambda **kwargs: None, sender=TokenSession):
        cleanup.run(batch_size=1)
    assert events(log) == ["cleanup_started", "cleanup_slow_path", "cleanup_finished"]
    assert told(log)[1]["tables"] == ["sessions"]
    assert "loads each row of: sessions." in log.records[1].getMessage()


@pytest.mark.usefixtures("broken")
def test_a_formatter_for_json_finds_values_that_it_can_write(log: Any) -> None:
    add_entries(2)
    cleanup.run()
    add_run(ago=timedelta(0), outcome="running", slot=1)
    with listening(post_delete, lambda **kwargs: None):
        cleanup.run()
        CleanupRun.objects.filter(slot=1).delete()
        cleanup.run(max_seconds=0)
    assert len(set(events(log))) == 6
    for record in told(log):
        moments = {name for name, value in record.items() if isinstance(value, datetime)}
        assert moments <= {"started_at", "cutoff"}
        json.dumps({name: value for name, value in record.items() if name not in moments})


def test_no_record_and_no_signal_names_what_was_revoked(log: Any) -> None:
    jti, key = "jti-that-nobody-should-see", uuid4()
    BlacklistEntry.objects.create(
        key=key, scope="token", subject=jti, expires_at=clock.now() + LONG_AGO
    )
    TokenSession.objects.create(
        sid=key, user_id=1, refresh_jti=jti, expires_at=clock.now() + LONG_AGO
    )
    heard = []
    with hearing(lambda **arguments: heard.append(str(arguments))):
        call_command("cleanup_tokens", verbosity=0)
    everything = str(told(log)) + str([record.getMessage() for record in log.records]) + str(heard)
    assert "cleanup_finished" in everything
    for secret in (jti, str(key), key.hex):
        assert secret not in everything


@pytest.mark.parametrize("fails", [False, True], ids=["done", "broken"])
def test_a_run_whose_end_can_not_be_recorded_is_told_as_failed(
    log: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, fails: bool
) -> None:
    def gone(self: Any, outcome: Any, **fields: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(lease.Lease, "release", gone)
    add_entries(3)
    if fails:
        request.getfixturevalue("broken")
    heard = []
    with hearing(lambda **arguments: heard.append(arguments)):
        report = cleanup.run(trigger="lifespan")
    cause = "disk full" if fails else "connection refused"
    assert (report.outcome, report.error) == ("failed", f"OperationalError: {cause}")
    assert report.removed == (0 if fails else 3)
    assert (heard[-1]["name"], heard[-1]["report"]) == ("cleanup_failed", report)
    assert events(log).count("cleanup_failed") == 1


# Signals

NAMES = ("cleanup_started", "cleanup_batch_finished", "cleanup_finished", "cleanup_failed")


@contextmanager
def hearing(receiver: Any) -> Iterator[None]:
    """Connect ``receiver(name=…, sender=…, **arguments)`` to each signal of the cleanup."""
    connected = []
    for name in NAMES:

        def receive(signal: Any, sender: Any, name: Any = name, **arguments: Any) -> None:
            receiver(name=name, sender=sender, **arguments)

        getattr(signals, name).connect(receive)
        connected.append((getattr(signals, name), receive))
    try:
        yield
    finally:
        for signal, receive in connected:
            assert signal.disconnect(receive)


def test_listeners_hear_of_the_start_each_batch_and_the_end() -> None:
    add_entries(3)
    add_sessions(1)
    heard = []
    with hearing(lambda **arguments: heard.append(arguments)):
        report = cleanup.run(trigger="lifespan", batch_size=2)
    assert [call["name"] for call in heard] == [
        "cleanup_started",
        *["cleanup_batch_finished"] * 3,
        "cleanup_finished",
    ]
    assert {call["sender"] for call in heard} == {CleanupRun}
    assert {call["using"] for call in heard} == {"default"}
    assert {call["run_id"] for call in heard[:-1]} == {report.run_id}
    assert heard[0]["trigger"] == "lifespan"
    batches = [(call["table"], call["removed"]) for call in heard[1:-1]]
    assert batches == [("entries", 2), ("entries", 1), ("sessions", 1)]
    assert max(call["seconds"] for call in heard[1:-1]) == report.longest_batch
    assert heard[-1]["report"] == report


def test_a_receiver_that_raises_disturbs_nobody() -> None:
    add_entries(3)

    def stumble(**arguments: Any) -> None:
        raise RuntimeError

    with hearing(stumble):
        assert cleanup.run(batch_size=1).removed == 3


def test_receivers_are_called_outside_of_transactions() -> None:
    add_entries(2)
    inside = []
    with hearing(lambda **arguments: inside.append(connection.in_atomic_block)):
        cleanup.run()
    assert inside == [False] * 3


@pytest.mark.usefixtures("broken")
def test_a_run_that_fails_is_started_and_failed() -> None:
    add_entries(1)
    heard = []
    with hearing(lambda **arguments: heard.append(arguments["name"])):
        cleanup.run()
    assert heard == ["cleanup_started", "cleanup_failed"]


def test_a_run_that_does_nothing_is_not_heard_of() -> None:
    add_run(ago=timedelta(0), outcome="running", slot=1)
    heard = []
    with hearing(lambda **arguments: heard.append(arguments["name"])):
        cleanup.run()
    assert heard == []


# The example of the documentation


class Pings(BaseHTTPRequestHandler):
    server: "PingServer"

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.heard.append((self.path, self.rfile.read(length).decode()))
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


class PingServer(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pings)
        self.heard = []


def test_the_pings_of_the_documentation_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (BASE_DIR / "docs" / "howto" / "watch.md").read_text()
    [code] = re.findall(r"```python\n([^`]*?urlopen.*?)```", page, re.DOTALL)
    server = PingServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    example = {}
    try:
        with kept_receivers():
            exec(code, example)  # noqa: S102
            example["PING"] = f"http://127.0.0.1:{server.server_port}/uuid"
            cleanup.run()
            add_entries(1)
            cleanup.run(max_seconds=0)
            replace_batches(monkeypatch, _disk_full)
            cleanup.run()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert server.heard == [
        ("/uuid/start", ""),
        ("/uuid", ""),
        ("/uuid/start", ""),
        ("/uuid/start", ""),
        ("/uuid/fail", "OperationalError: disk full"),
    ]


def _disk_full(self: Any, cutoff: Any, **more: Any) -> None:
    raise OperationalError("disk full")


@contextmanager
def kept_receivers() -> Iterator[None]:
    """Forget the receivers that were connected inside."""
    kept = [(signal, list(signal.receivers)) for signal in map(vars(signals).get, NAMES)]
    try:
        yield
    finally:
        for signal, receivers in kept:
            signal.receivers = receivers
            signal.sender_receivers_cache.clear()
