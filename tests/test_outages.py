"""A database that is stopped, killed, full, slow or protected while clients check and log out.

Real servers: a private database, and gunicorn with two workers of two threads on it for each mode.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.db import connection

from project.settings import BASE_DIR

from .private_servers import MariaDB, Postgres, SQLite, free_port
from .processes import environment
from .traffic import (
    CHECKS,
    HEALTH,
    LOGIN,
    LOGOUT,
    ME,
    REFRESH,
    STATELESS,
    VERIFY,
    PASSWORD,
    Site,
    Traffic,
    counts,
    wait_for,
)

MAX_AGES = {"strict": 0.0}
LONG = 2.0  # seconds that a fault lasts; more than the oldest answer may be
RECOVERED_WITHIN = 2.0

DATABASES = {"postgresql": Postgres, "mysql": MariaDB, "sqlite": SQLite}

# What each fault denies: everything, what writes, or it only takes longer or fails at times.
SERVER = {
    "stopped": "all",
    "killed": "all",
    "read_only": "writes",
    "exhausted": "some",
    "terminating": "none",
    "hanging": "none",
}
FILE = {
    "gone": "all",
    "empty": "all",
    "unreadable": "all",
    "read_only": "writes",
    "read_only_place": "some",
    "locked": "all",
    "write_locked": "writes",
}
FAULTS = FILE if connection.vendor == "sqlite" else SERVER

MAKE = f"""
import django; django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
call_command("migrate", verbosity=0)
get_user_model().objects.create_user("ada", password={PASSWORD!r})
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres | MariaDB | SQLite]:
    private = DATABASES[connection.vendor]()
    try:
        subprocess.run(
            [sys.executable, "-c", MAKE], cwd=BASE_DIR, env=_environment(private), check=True
        )
        yield private
    finally:
        private.end()


@pytest.fixture(scope="module")
def sites(database, tmp_path_factory) -> Iterator[dict[str, Site]]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("outages")
        yield {
            mode: stack.enter_context(_serve(database, folder / mode, max_age))
            for mode, max_age in MAX_AGES.items()
        }


def _environment(database, max_age: float = 0) -> dict[str, str]:
    return environment(
        DATABASE_URL=database.url,
        DJANGO_SETTINGS_MODULE="tests.outage_settings",
        TOKENS_CHECK_MAX_AGE=str(max_age),
    )


@contextmanager
def _serve(database, log: Path, max_age: float) -> Iterator[Site]:
    port = free_port()
    # Modes of files are nothing to root, unless it gives this up.
    bounds = "-dac_override,-dac_read_search"
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["setpriv", "--bounding-set", bounds, "--inh-caps", bounds, sys.executable]
            + ["-m", "gunicorn", "--no-control-socket", "--workers=2", "--threads=2"]
            + [f"--bind=127.0.0.1:{port}", "project.wsgi"],
            cwd=BASE_DIR,
            env=_environment(database, max_age),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child,
    ):
        site = Site(port, max_age)
        try:
            assert wait_for(lambda: _answers(site), 60), log.read_text()
            yield site
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(30)
    # No worker died of it, and nothing was answered with 500.
    text = log.read_text()
    assert "Internal Server Error" not in text
    assert text.count("Booting worker") == 2, text


def _answers(site: Site) -> bool:
    try:
        return site.ask(HEALTH, allowed=(200,)).status == 200
    except ConnectionError:
        return False


@pytest.mark.parametrize("fault", FAULTS)
def test_an_outage(fault, database, sites):
    with traffic_on(sites) as all_traffic:
        time.sleep(0.3)
        with getattr(database, fault)():
            began = time.monotonic()
            time.sleep(LONG)
            ending = time.monotonic()
        ended = time.monotonic()
        recovered = wait_for(lambda: all(recovery(one, ended) for one in all_traffic), 10)
        time.sleep(0.3)

    for one in all_traffic:
        mode = one.site.max_age
        print(
            f"{fault} {mode} recovered {recovery(one, ended)}",
            {name: dict(c) for name, c in counts(one.since(began)).items()},
            max(a.seconds for a in one.answers),
        )
        assert not one.errors
        wrong = [answer for answer in one.answers if answer.wrong]
        assert not wrong, (len(wrong), wrong[:3])
    assert recovered


@contextmanager
def traffic_on(sites) -> Iterator[list[Traffic]]:
    with ExitStack() as stack:
        all_traffic = []
        for site in sites.values():
            all_traffic.append(Traffic(site))
            stack.callback(all_traffic[-1].stop)
        yield all_traffic


def recovery(traffic: Traffic, ended: float) -> float | None:
    """Return how many seconds after the fault the first came of ten good answers in a row."""
    after = [a for a in traffic.since(ended) if a.what != HEALTH]
    good = 0
    for answer in after:
        good = good + 1 if answer.status != 503 else 0
        if good == 1:
            first = answer.began
        if good == 10:
            return first - ended
    return None
