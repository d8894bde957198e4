"""A database that is stopped, killed, full, slow or protected while clients check and log out.

Real servers: a private database, and for each mode a gunicorn of two workers with two threads. Each
run of the tests breaks a database of its own kind.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from project.settings import BASE_DIR

from . import chroot
from .broken_file import SQLite
from .private_server import free_port
from .private_servers import MariaDB, Postgres
from .processes import PATIENCE, environment
from .traffic import (
    CHECKS,
    HEALTH,
    LOGOUT,
    ME,
    PASSWORD,
    REFRESH,
    STATELESS,
    WRITES,
    Site,
    Traffic,
    wait_for,
)

# They share the database that they break.
pytestmark = [pytest.mark.xdist_group("outages"), pytest.mark.slow]

# Long enough for a busy machine to ask while a copy is young: the fault itself takes a moment.
MAX_AGES = {"strict": 0.0, "cached": 2.5}
FAULT_LASTS = 3.1  # seconds: longer than the oldest answer may be, and than a lock is waited for
ANSWERED_FROM_COPIES = ("killed", "gone")
RELOADED_WITHIN = 0.4
AT_ONCE = 8  # twice as many as a site has threads
HANG_LASTS = 3.0  # longer than it takes to give up a connection and a second one
# Of those that were asked when the fault was over; four threads of a server ask on connections that
# broke. Not a time, because a busy machine answers late, and asks as seldom.
REFUSED_AT_MOST = 16
SLOWEST = HANG_LASTS + 20.0

DATABASES: dict[str, Any] = {"postgresql": Postgres, "mysql": MariaDB, "sqlite": SQLite}
if os.environ.get("SERVERS") == "sid":
    DATABASES |= chroot.SERVERS

# What each fault denies: everything; what writes (and perhaps more); what happens to meet it; or it
# only delays.
FAULTS = {
    "server": {
        "stopped": "everything",
        "killed": "everything",
        "read_only": "writes",
        "exhausted": "much",
        "terminating": "some",
        "hanging": "time",
    },
    "file": {
        "gone": "everything",
        "empty": "everything",
        "unreadable": "everything",
        "read_only": "writes",
        "read_only_place": "writes at least",
        "locked": "everything",
        "write_locked": "writes",
    },
}["file" if connection.vendor == "sqlite" else "server"]

# One for each thing that a fault denies; the others deny the same by other errors.
USUAL = (
    {"killed", "read_only", "hanging"}
    if connection.vendor != "sqlite"
    else {"gone", "write_locked"}
)

MAKE = f"""
import django; django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
# Making tables may take longer than the server is to wait for an answer.
connection.settings_dict["OPTIONS"].pop("read_timeout", None)
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
def sites(database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("outages")
        yield {
            mode: stack.enter_context(_serve(database, folder / mode, max_age))
            for mode, max_age in MAX_AGES.items()
        }


def _environment(database: Any, max_age: float = 0) -> dict[str, str]:
    return environment(
        DATABASE_URL=database.url,
        DJANGO_SETTINGS_MODULE="tests.outage_settings",
        TOKENS_CHECK_MAX_AGE=str(max_age),
    )


@contextmanager
def _serve(database: Any, log: Path, max_age: float) -> Iterator[Site]:
    port = free_port()
    # Modes of files are nothing to root, unless it gives this up.
    bounds = "-dac_override,-dac_read_search"
    with (
        log.open("w") as output,
        subprocess.Popen(
            shlex.split(
                f"setpriv --bounding-set {bounds} --inh-caps {bounds} {sys.executable} -m gunicorn"
                f" --no-control-socket --preload --workers 2 --threads 2 --bind 127.0.0.1:{port}"
                " project.wsgi"
            ),
            cwd=BASE_DIR,
            env=_environment(database, max_age),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child,
    ):
        site = Site(port, max_age)
        try:
            assert wait_for(lambda: _answers(site), PATIENCE), log.read_text()
            yield site
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(PATIENCE)
    # No worker died of it, and nothing was answered with 500.
    text = log.read_text()
    assert "Internal Server Error" not in text
    assert text.count("Booting worker") == 2, text


def _answers(site: Site) -> bool:
    try:
        return site.ask(HEALTH, allowed=(200,)).status == 200
    except ConnectionError:
        return False


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=[] if fault in USUAL else pytest.mark.thorough) for fault in FAULTS],
)
def test_an_outage_lets_no_revoked_token_in_and_no_good_one_be_thrown_away(
    fault: Any, database: Any, sites: Any
) -> None:
    with traffic_on(sites) as traffic:
        for one in traffic:
            one.probe()
        if fault in ANSWERED_FROM_COPIES:
            renew_copies(traffic)
        before = time.monotonic()
        with getattr(database, fault)():
            began = time.monotonic()
            if fault in ANSWERED_FROM_COPIES:
                # The copy grows old while others are asked.
                for one in sorted(traffic, key=lambda one: one.site.max_age, reverse=True):
                    answers_from_its_copy_or_not_at_all(one, before)
            time.sleep(HANG_LASTS if fault == "hanging" else FAULT_LASTS)
            for one in traffic:
                is_felt(one, FAULTS[fault], began)
        ended = time.monotonic()
        assert wait_for(lambda: all(one.has_recovered(ended) for one in traffic), PATIENCE)
    for one in traffic:
        assert not one.errors
        wrong = [answer for answer in one.answers if answer.wrong]
        assert not wrong, (len(wrong), wrong[:3])
        slowest = max(answer.seconds for answer in one.answers)
        assert (1 if FAULTS[fault] == "time" else 0) < slowest < SLOWEST
        refused = [answer for answer in one.asked(since=ended) if answer.status == 503]
        assert len(refused) <= REFUSED_AT_MOST, refused[-3:]
        what_was_answered_holds(one, sites.values())


@contextmanager
def traffic_on(sites: dict[str, Site]) -> Iterator[list[Traffic]]:
    with ExitStack() as stack:
        traffic = []
        for site in sites.values():
            traffic.append(Traffic(site))
            stack.callback(traffic[-1].stop)
        yield traffic


def renew_copies(traffic: list[Traffic]) -> None:
    for _ in range(2):  # the first time, a process may answer from a copy that is due
        for one in traffic:
            one.check_at_once(STATELESS, number=AT_ONCE)
        time.sleep(RELOADED_WITHIN)


def answers_from_its_copy_or_not_at_all(traffic: Traffic, before: float) -> None:
    found = traffic.check_at_once(STATELESS, number=AT_ONCE)
    if max_age := traffic.site.max_age:
        # It was young when the fault began; a busy machine may have asked too late.
        assert 200 in found or time.monotonic() > before + max_age / 3, found
    else:
        assert 200 not in found


def is_felt(traffic: Traffic, denied: str, began: float) -> None:
    """Fail if the fault is none: it denies too little, or what it should leave alone."""
    if denied == "everything":
        assert set(traffic.probe().values()) == {503}
    elif denied.startswith("writes"):
        found = traffic.probe()
        assert {found[what] for what in WRITES} == {503}
        assert {found[what] for what in (*CHECKS, HEALTH)} == {200} or denied == "writes at least"
    elif denied == "much":
        for some in (WRITES, CHECKS):
            refused = partial(_is_refused, traffic, some, began)
            assert wait_for(refused, PATIENCE), some
    elif denied == "time":
        # Nothing at all, unless a time limit of the driver ended the wait. A process of the server
        # that was just being made may have escaped for a moment.
        asked = traffic.asked(ME, LOGOUT, since=began + 0.3)
        assert not [answer for answer in asked if answer.status != 503]


def _is_refused(traffic: Traffic, some: tuple[str, ...], since: float) -> bool:
    return any(answer.status == 503 for answer in traffic.asked(*some, since=since))


def what_was_answered_holds(traffic: Traffic, sites: Any) -> None:
    """Ask again when all is well: 204 has revoked, 503 can be tried again, the rest is accepted."""
    site = traffic.site
    revoked = [login for login in traffic.logged_out if login.logged_out is not None]
    assert revoked
    for login, what in zip(revoked, cycle(CHECKS), strict=False):
        for there in sites:
            answer = there.check(what, login, "")
            assert not answer.wrong, answer
            assert answer.status != 503
        assert site.ask(REFRESH, refresh=login.refresh, allowed=(401,)).status == 401
    for login in traffic.logged_out:
        assert site.ask(LOGOUT, refresh=login.refresh, allowed=(204,)).status == 204
    for login in (traffic.good, traffic.spare):
        assert [site.check(what, login, "").status for what in CHECKS] == [200] * len(CHECKS)
    for login in (traffic.good, traffic.refreshed):
        assert site.ask(REFRESH, refresh=login.refresh, allowed=(200,)).status == 200
