"""Real ASGI servers as child processes, each on the test's database."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection

from project.settings import BASE_DIR
from tokens import cleanup
from tokens.models import BlacklistEntry, CleanupRun

from .expiring import IN_A_WHILE, add_entries
from .processes import PATIENCE, environment, fetch, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SERVERS = {
    "uvicorn": "-m uvicorn --workers {workers} --host 127.0.0.1 --port {port} {app}",
    "hypercorn": "-m hypercorn --workers {workers} --bind 127.0.0.1:{port} {app}",
    "gunicorn": "-m gunicorn --no-control-socket --workers {workers} --bind 127.0.0.1:{port}"
    " --worker-class uvicorn_worker.UvicornWorker {app}",
    "gunicorn's own": "-m gunicorn --no-control-socket --workers {workers}"
    " --bind 127.0.0.1:{port} --worker-class asgi {app}",
}
WORKERS = 2


class Server:
    def __init__(self, child: Any, port: Any, log: Any) -> None:
        self.child, self._log = child, log
        self._url = f"http://127.0.0.1:{port}"

    @property
    def log(self) -> Any:
        return self._log.read_text()

    def get(self, path: Any) -> Any:
        return fetch(self._url + path)

    def answers(self) -> Any:
        with suppress(httpx.TransportError):
            return self.get("/").status_code == 200
        return False

    def wait_until(self, happened: Any) -> None:
        """Wait for what the server does; say what it wrote if it ends instead."""

        def happened_or_ended() -> bool:
            assert self.child.poll() is None, self.log
            return bool(happened())

        wait_until(happened_or_ended)

    def terminate(self) -> Any:
        """End the server as its supervisor does; return its exit status."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(PATIENCE)


def free_port() -> Any:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(tmp_path: Path) -> Any:
    """Start a server, and end it with the test."""

    @contextmanager
    def start(
        name: Any, *, workers: Any = 1, app: Any = "project.asgi:application", **changes: Any
    ) -> Iterator[Any]:
        port, log = free_port(), tmp_path / "log"
        arguments = SERVERS[name].format(port=port, app=app, workers=workers).split()
        with (
            log.open("w") as output,
            subprocess.Popen(
                [sys.executable, *arguments],
                cwd=BASE_DIR,
                env=environment(LOG_LEVEL="INFO", **changes),
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own, so that no worker outlives a test that fails.
                start_new_session=True,
            ) as child,
        ):
            server = Server(child, port, log)
            try:
                yield server
            finally:
                if child.poll() is None:
                    server.terminate()

    return start


def count(text: Any, log: Any) -> Any:
    return sum(text in line for line in log.splitlines())


def servers(*usual: str, on_each_database: str = "") -> Any:
    """Try all servers on SQLite, all but the usual ones only if it has to be thorough.

    How they start is their own, so on other databases one of them is enough.
    """
    marks = {
        name: [
            *([pytest.mark.any_database] if name != on_each_database else []),
            *([pytest.mark.thorough] if name not in usual else []),
        ]
        for name in SERVERS
    }
    named = [pytest.param(name, marks=found) for name, found in marks.items()]
    return pytest.mark.parametrize("name", named)


@servers("uvicorn", "gunicorn's own", on_each_database="uvicorn")
def test_a_server_cleans_up_once_whatever_the_number_of_its_workers(serve: Any, name: Any) -> None:
    add_entries(2_500)
    add_entries(5, ends=IN_A_WHILE)
    with serve(name, workers=WORKERS) as server:
        server.wait_until(server.answers)
        server.wait_until(lambda: count("Token cleanup task started", server.log) == WORKERS)
        server.wait_until(lambda: CleanupRun.objects.filter(outcome="succeeded").exists())
        assert server.get("/health/").json()["cleanup"]["last_success"] is not None
        status = server.terminate()
    assert BlacklistEntry.objects.count() == 5
    run = CleanupRun.objects.get()
    assert (run.trigger, run.outcome, run.slot) == ("lifespan", "succeeded", None)
    assert run.entries_removed == 2_500
    assert status == 0, server.log
    stopped = count("Token cleanup task stopped.", server.log)
    # Hypercorn 0.18 waits for the first worker that stops, and kills the others.
    assert stopped == WORKERS or (name == "hypercorn" and stopped)
    assert count("Will run every 24 hours.", server.log) == WORKERS
    assert "Traceback" not in server.log


@servers("hypercorn")
def test_a_server_answers_while_it_cleans_up_and_leaves_no_slot_when_it_ends(
    serve: Any, name: Any
) -> None:
    add_entries(2_000)
    workers = 1 if name == "hypercorn" else 2
    with serve(name, workers=workers, app="tests.slow_server:application") as server:
        server.wait_until(lambda: BlacklistEntry.objects.count() < 2_000)
        server.wait_until(server.answers)
        assert server.get("/health/").json()["cleanup"]["last_success"] is None
        assert CleanupRun.objects.get().outcome == "running"
        status = server.terminate()
    assert status == 0, server.log
    run = CleanupRun.objects.get()
    assert (run.outcome, run.slot) == ("partial", None)
    assert 0 < BlacklistEntry.objects.count() < 2_000
    assert cleanup.run(if_due=True).outcome == "succeeded"


@pytest.mark.any_database
def test_a_server_can_be_told_to_leave_the_cleanup_to_others(serve: Any) -> None:
    add_entries(1)
    with serve("hypercorn", CLEANUP_IN_SERVER="0") as server:
        server.wait_until(server.answers)
        assert server.terminate() == 0
    assert "token cleanup" not in server.log
    assert not CleanupRun.objects.exists()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="asks PostgreSQL who is connected")
def test_a_server_keeps_no_connection_for_requests_that_are_over(serve: Any) -> None:
    with serve("uvicorn", CLEANUP_IN_SERVER="0") as server:
        server.wait_until(server.answers)
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(server.get, ["/health/"] * 60))
        server.wait_until(lambda: connected() <= 1)
    assert {answer.status_code for answer in answers} == {200}


def connected() -> Any:
    """Return how many others are connected to the test's database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0]
