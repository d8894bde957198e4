"""Cached checks in servers of each kind, each on the test's database.

What a worker answered from its snapshot, its own metrics tell.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection

from project.settings import BASE_DIR

from .private_server import free_port
from .processes import PATIENCE, environment, fetch, wait_until
from .traffic import LOGOUT, ME, REFRESH, STATELESS, VERIFY, Login, Site

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

MAX_AGE = 0.5

GUNICORN = "-m gunicorn --no-control-socket --bind 127.0.0.1:{port} --workers 2"
UVICORN = "-m uvicorn --host 127.0.0.1 --port {port} --workers 2"
# How each is started, and how many processes of it answer.
SERVERS = {
    "gunicorn --preload": (f"{GUNICORN} --threads 4 --preload tests.preloaded_wsgi", 2),
    "gunicorn with gevent": (f"{GUNICORN} --worker-class gevent project.wsgi", 2),
    "uvicorn": (
        "-m uvicorn --workers 2 --host 127.0.0.1 --port {port} project.asgi:application",
        2,
    ),
    "runserver": ("manage.py runserver --noreload 127.0.0.1:{port}", 1),
}
any_database, thorough = pytest.mark.any_database, pytest.mark.thorough
is_postgresql = connection.vendor == "postgresql"
# The first two change how a process is connected to its database, and the second how the driver
# waits, which psycopg does by itself and the others leave to Python.
MARKED = [
    "gunicorn --preload",
    pytest.param("gunicorn with gevent", marks=[] if is_postgresql else thorough),
    pytest.param("uvicorn", marks=any_database),
    pytest.param("runserver", marks=[any_database, thorough]),
]


@contextmanager
def serving(name: str, log: Path) -> Iterator[Site]:
    port = free_port()
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, *SERVERS[name][0].format(port=port).split()],
            cwd=BASE_DIR,
            env=environment(
                DJANGO_SETTINGS_MODULE="tests.outage_settings",
                TOKENS_CHECK_MAX_AGE=str(MAX_AGE),
                CLEANUP_IN_SERVER="0",
            ),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child,
    ):
        site = Site(port, MAX_AGE)

        def answers() -> bool:
            assert child.poll() is None, log.read_text()
            with suppress(httpx.TransportError):
                return metrics(site).status_code == 200
            return False

        try:
            wait_until(answers)
            yield site
        finally:
            child.terminate()
            child.wait(PATIENCE)
    assert "Internal Server Error" not in log.read_text()


def metrics(site: Site) -> httpx.Response:
    return fetch(f"http://127.0.0.1:{site.port}/metrics/")


def answered_from_snapshot(site: Site) -> dict[str, float]:
    """Return how many checks the snapshot has answered, of the process that happens to answer."""
    text = metrics(site).text
    found = re.search(r'tokens_checks_total\{pid="(\d+)",source="from_snapshot"\} (\S+)', text)
    assert found, text
    return {found[1]: float(found[2])}


def check(site: Site, login: Login, times: int = 24) -> set[int]:
    """Use the access token so often, on connections of their own, and return the answers."""

    def use(number: int) -> int:
        if number % 3 == 0:
            return site.ask(VERIFY, token=login.access, allowed=()).status
        path = (ME, STATELESS)[number % 3 - 1]
        return site.ask(path, access=login.access, allowed=()).status

    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(use, range(times)))


@pytest.mark.parametrize("name", MARKED)
def test_every_process_of_a_server_refuses_in_time_what_one_has_revoked(
    name: str, user: AbstractUser, tmp_path: Path
) -> None:
    with serving(name, tmp_path / "log") as site:
        one, other = site.new_login(), site.new_login()
        from_snapshot: dict[str, float] = {}

        def all_answer_from_their_snapshot() -> bool:
            assert check(site, one) == {200}
            with ThreadPoolExecutor(8) as pool:
                for found in pool.map(lambda _: answered_from_snapshot(site), range(8)):
                    from_snapshot.update(found)
            return len(from_snapshot) == SERVERS[name][1] and all(from_snapshot.values())

        wait_until(all_answer_from_their_snapshot)

        assert site.ask(LOGOUT, refresh=one.refresh, allowed=()).status == 204
        time.sleep(MAX_AGE)

        for _ in range(3):
            assert check(site, one) == {401}
            assert check(site, other) == {200}
        assert site.ask(REFRESH, refresh=one.refresh, allowed=()).status == 401
