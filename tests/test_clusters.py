"""Clusters: three nodes of Galera that all write, and a primary with a standby that lags.

``make test-clusters`` plays CLUSTER_ROUNDS rounds of each kind (80), and prints what came of them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from project.settings import BASE_DIR

from .private_clusters import Galera, Primary, Standby
from .processes import environment

# They start servers of their own.
pytestmark = [
    pytest.mark.clusters,
    pytest.mark.any_database,
    pytest.mark.xdist_group("clusters"),
    pytest.mark.timeout(1800),
]

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "80"))
FEW = max(2, ROUNDS // 20)
SYNC_WAIT = "SET SESSION wsrep_sync_wait = 1"  # as docs/howto/beyond-one-server.md says


def play(game: str, rounds: int, urls: dict[str, str], **changes: str) -> dict[str, int]:
    """Play ``rounds`` between the servers; return how often what came of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster_rounds", game, str(rounds)],
        cwd=BASE_DIR,
        env=_environment(urls["default"], CLUSTER_URLS=json.dumps(urls), **changes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    print(f"{game} ({', '.join(changes.values()) or 'as it is'}): {count}")  # noqa: T201
    return count


def _environment(url: str, **changes: str) -> dict[str, str]:
    return environment(DATABASE_URL=url, DJANGO_SETTINGS_MODULE="tests.cluster_settings", **changes)


def migrate(url: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=BASE_DIR,
        env=environment(DATABASE_URL=url),
        check=True,
    )


@pytest.fixture(scope="module")
def galera() -> Iterator[dict[str, str]]:
    """Return the URLs of two nodes of three; a table keeps them busy if it is changed."""
    with Galera(3) as cluster:
        migrate(cluster.nodes[0].url)
        cluster.execute("CREATE TABLE heavy (id int PRIMARY KEY, n int, filling char(60))")
        cluster.execute("INSERT INTO heavy SELECT seq, 0, '' FROM seq_1_to_150000")
        yield {"default": cluster.nodes[0].url, "other": cluster.nodes[1].url}


ENDINGS = (
    "everywhere_and_adoption",
    "password_and_adoption",
    "password_and_login",
    "everywhere_and_login",
    "everywhere_and_sessions",
)


@pytest.mark.parametrize("game", ENDINGS)
def test_no_login_survives_what_ends_all_on_another_node(game: str, galera: dict[str, str]) -> None:
    count = play(game, ROUNDS, galera)
    assert count["ended: 200"] == ROUNDS
    assert not count.get("survivors")


def test_the_rounds_find_a_login_that_survives(galera: dict[str, str]) -> None:
    count = play("everywhere_and_adoption", FEW, galera, CLUSTER_BLIND="1")
    assert count["survivors"]


@pytest.mark.parametrize(
    ("game", "answers"),
    [
        ("logout_twice", {"ended: 204"}),
        ("everywhere_twice", {"ended: 200", "ended: 401"}),
        ("adoption_twice", {"200", "more than one successor"}),
        ("logout_and_refreshes", {"ended: 204", "200", "401", "survivors"}),
        ("logins_at_once", {"ended: 200"}),
    ],
)
def test_a_conflict_between_nodes_is_tried_again(
    game: str, answers: set[str], galera: dict[str, str]
) -> None:
    count = play(game, max(4, ROUNDS // 3), galera)
    assert set(count) <= answers
    assert not count.get("survivors")
    assert not count.get("more than one successor")


RIGHT = {"its successor: 200", "a new login: 200", "login with the old password: 401"}


def test_a_node_that_lags_takes_no_honest_client_for_a_thief(galera: dict[str, str]) -> None:
    count = play("lag", FEW, galera)
    assert {name for name in count if ":" in name} == RIGHT


def test_a_node_that_waits_accepts_nothing_that_was_revoked(galera: dict[str, str]) -> None:
    count = play("lag", FEW, galera, CLUSTER_INIT_COMMAND=SYNC_WAIT)
    assert count["rounds with acceptance"] == count["longest, in ms"] == 0
    assert {name for name in count if ":" in name} == RIGHT


def test_the_check_tells_a_node_that_answers_late(galera: dict[str, str]) -> None:
    assert "tokens.W047" in checked(galera["default"])
    assert "tokens.W047" not in checked(galera["default"], CLUSTER_INIT_COMMAND=SYNC_WAIT)


def checked(url: str, **changes: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--database", "default"],
        cwd=BASE_DIR,
        env=_environment(url, CLUSTER_URLS=json.dumps({"default": url}), **changes),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


# A primary and a standby


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Primary, Standby]]:
    primary = Primary()
    try:
        migrate(primary.url)
        standby = Standby(primary)
        try:
            yield primary, standby
        finally:
            standby.end()
    finally:
        primary.end()


def test_with_a_standby_that_lags_the_answers_are_right(
    pair: tuple[Primary, Standby],
) -> None:
    primary, standby = pair
    urls = {"default": primary.url, "replica": standby.url}
    standby.pause()
    try:
        count = play("standby", FEW, urls, CLUSTER_REPLICA="replica")
    finally:
        standby.resume()
    assert count == {
        "request: 200": FEW,
        "refresh: 200": FEW,
        "adoption of a deactivated user: 401": FEW,
        "revoked, request: 401": FEW,
        "revoked, refresh: 401": FEW,
        "a new user, request: 200": FEW,
        "a new user's token for_user: 200": FEW,
        "the admin ends it: Ended 1 session of 1 user.": FEW,
        "on the replica, in strict mode: 0": FEW,
    }


def test_the_check_tells_a_standby_and_a_router(pair: tuple[Primary, Standby]) -> None:
    primary, standby = pair
    standby.resume()
    assert "tokens.W046" in checked(standby.url)
    assert "tokens.W046" not in checked(primary.url)
