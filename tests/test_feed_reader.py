"""A reader of the feed keeps its copy young, and decides nothing from an old one."""

import multiprocessing
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connections

from project.settings import BASE_DIR
from tokens import blacklist, clock, sessions
from tokens.feed import Feed, FeedError, FeedTooOld, NotCovered, clocks, copy, reader
from tokens.jwt import RefreshToken
from tokens.keys import new_sid

from .canned import Canned, canned
from .conftest import DAY
from .processes import PATIENCE, environment, wait_until
from .services import make_service
from .test_feed_rules import ANSWER
from .test_servers import free_port

MAX_AGE = 0.5  # seconds
PAYLOAD = {"jti": "a", "exp": 1_899_999_300, "iat": 1_899_999_000, "user_id": "1"}


@pytest.fixture
def site() -> Iterator[Canned]:
    with canned() as site:
        site.say(ANSWER)
        yield site


@contextmanager
def reading(site: Canned, **options: Any) -> Iterator[Feed]:
    with Feed(site.url, **{"max_age": 0.2, "timeout": PATIENCE} | options) as feed:
        yield feed


def why_too_old(feed: Feed, payload: dict[str, Any] = PAYLOAD) -> str:
    """Return what the feed says that does not answer, without waiting for long."""
    feed.timeout, usual = 0.1, feed.timeout
    with pytest.raises(FeedTooOld) as refusal:
        feed.refuses(payload)
    feed.timeout = usual
    return str(refusal.value)


@pytest.mark.any_database
def test_the_first_question_waits_for_a_copy_and_later_ones_do_not(site: Canned) -> None:
    with reading(site, max_age=3600) as feed:
        assert feed.age is None
        assert feed.refuses(PAYLOAD) is False
        assert feed.age is not None
        for _ in range(100):
            feed.refuses(PAYLOAD)
    assert len(site.asked) == 1


@pytest.mark.any_database
def test_a_thread_asks_again_by_itself_and_only_for_what_is_new(site: Canned) -> None:
    with reading(site) as feed:
        feed.refuses(PAYLOAD)
        site.wait_for_requests(2)
        site.say(ANSWER | {"complete": False, "cursor": "2-2"})
        site.wait_for_requests(2)
    asked = [path for path, _ in site.asked]
    assert asked[0] == "/revocations/"
    assert set(asked[1:3]) == {"/revocations/?since=1-1"}
    assert "/revocations/?since=2-2" in asked


@pytest.mark.any_database
def test_an_address_may_have_a_query_of_its_own(site: Canned) -> None:
    site.url += "?tenant=a"
    with reading(site) as feed:
        feed.refuses(PAYLOAD)
        site.wait_for_requests(1)
    assert [path for path, _ in site.asked[:2]] == [
        "/revocations/?tenant=a",
        "/revocations/?tenant=a&since=1-1",
    ]


@pytest.mark.any_database
def test_headers_name_the_caller(site: Canned) -> None:
    numbers = iter(range(1000))
    with reading(site, headers=lambda: {"Authorization": f"Bearer {next(numbers)}"}) as feed:
        feed.refuses(PAYLOAD)
        site.wait_for_requests(1)
    assert [sent["Authorization"] for _, sent in site.asked[:2]] == ["Bearer 0", "Bearer 1"]
    with reading(site, headers={"Authorization": "Basic abc"}) as feed:
        feed.refuses(PAYLOAD)
    assert site.asked[-1][1]["Authorization"] == "Basic abc"


BAD_ANSWERS: dict[str, Callable[[Canned], object]] = {
    "401": lambda site: site.say({"detail": "no"}, status=401),
    "503": lambda site: site.say({"detail": "no"}, status=503),
    "a page": lambda site: site.say(b"<html>"),
    "a list": lambda site: site.say([1]),
    "nothing": lambda site: site.say(b""),
    "a deep one": lambda site: site.say(b"[" * 100_000),
    "another version": lambda site: site.say(ANSWER | {"version": 2}),
    "304": lambda site: site.say(b"", status=304),
}


@pytest.mark.any_database
@pytest.mark.parametrize("spoil", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_reader_without_a_copy_decides_nothing(
    spoil: Callable[[Canned], object], site: Canned
) -> None:
    spoil(site)
    with reading(site) as feed:
        assert "has not been read" in why_too_old(feed)
        site.wait_for_requests(2)
        assert "has not been read" in why_too_old(feed)


@pytest.mark.any_database
@pytest.mark.parametrize("spoil", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_copy_that_can_not_be_renewed_decides_until_it_is_too_old_and_then_recovers(
    spoil: Callable[[Canned], object], site: Canned
) -> None:
    with reading(site) as feed:
        assert feed.refuses(PAYLOAD) is False
        spoil(site)
        site.wait_for_requests(2)
        wait_until(lambda: (feed.age or 0) > feed.max_age)
        assert re.search(r"is .* s old", why_too_old(feed))
        site.say(ANSWER)
        assert feed.refuses(PAYLOAD) is False


@pytest.mark.any_database
def test_a_server_that_is_gone_is_no_answer() -> None:
    with Feed(f"http://127.0.0.1:{free_port()}/", max_age=0.2) as feed:
        wait_until(lambda: "does not answer" in why_too_old(feed))


@pytest.mark.any_database
def test_a_server_that_hangs_makes_a_copy_too_old(site: Canned) -> None:
    with reading(site) as feed:
        feed.refuses(PAYLOAD)
        site.gate.clear()
        wait_until(lambda: (feed.age or 0) > feed.max_age)
        why_too_old(feed)
        site.gate.set()
        assert feed.refuses(PAYLOAD) is False


@pytest.mark.any_database
def test_headers_that_fail_do_not_end_the_thread(
    site: Canned, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = iter([KeyError("no secret"), {}, {}])

    def headers() -> dict[str, str]:
        found = next(secrets, {})
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[return-value]

    with reading(site, headers=headers) as feed:
        assert feed.refuses(PAYLOAD) is False
    assert "the feed can't be read" in caplog.text


@pytest.mark.any_database
def test_a_redirect_is_not_followed_with_the_secret(site: Canned) -> None:
    with canned() as thief:
        thief.say(ANSWER)
        site.say(b"", status=302, Location=thief.url)
        headers = {"Authorization": "Basic abc"}
        with reading(site, headers=headers) as feed:
            wait_until(lambda: "302" in why_too_old(feed))
        assert thief.asked == []


@pytest.mark.any_database
def test_age_counts_from_before_the_request(site: Canned) -> None:
    site.gate.clear()
    with reading(site, max_age=0.5) as feed:
        answers: list[object] = []

        def ask() -> None:
            try:
                answers.append(feed.refuses(PAYLOAD))
            except FeedError as error:
                answers.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.6)  # the first copy is too old when it comes
        site.gate.set()
        thread.join()
        assert answers == [False]
        assert len(site.asked) >= 2


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["elapsed", "wall"])
def test_either_clock_makes_a_copy_old(
    name: str, site: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was paused, or whose clock was set, knows nothing of what happened since."""
    with reading(site, max_age=1000) as feed:
        assert feed.refuses(PAYLOAD) is False
        site.gate.clear()
        since = clocks.since
        moved = {"elapsed": 0.0, "wall": 0.0} | {name: 1001.0}
        monkeypatch.setattr(
            clocks,
            "since",
            lambda moment: since(
                clocks.Moment(moment.elapsed - moved["elapsed"], moment.wall - moved["wall"])
            ),
        )
        why_too_old(feed)
        site.gate.set()


@pytest.mark.any_database
def test_a_clock_of_the_feed_that_was_set_back_costs_a_complete_answer(site: Canned) -> None:
    with reading(site) as feed:
        feed.refuses(PAYLOAD)
        site.say(ANSWER | {"complete": False, "now": ANSWER["now"] - 3600})
        site.wait_for_requests(4)
        site.say(ANSWER | {"now": ANSWER["now"] - 3600})
        site.wait_for_requests(2)
        assert feed.refuses(PAYLOAD) is False
    asked = [path for path, _ in site.asked]
    assert asked.count("/revocations/") >= 3


KEY, OTHER = "oAAAAAAAAAA=", "oAAAAAAAAAE="


@pytest.mark.any_database
def test_once_in_a_while_everything_is_read_again_beside_what_is_new(
    site: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A complete answer may take longer than a copy may be old, and removes no key that is new."""
    monkeypatch.setattr(reader, "COMPLETE_EVERY", 0.3)
    site.say(ANSWER | {"keys": KEY})
    with reading(site) as feed:
        feed.refuses(PAYLOAD)
        site.slow = ANSWER | {"keys": ""}
        site.say(ANSWER | {"complete": False, "keys": OTHER})
        site.wait_for_requests(8)  # they go on while a complete answer is under way
        assert feed.age is not None
        assert feed.age < 60
        held = feed._copy
        assert held is not None
        assert [held._has(0xA000000000000000 + one) for one in (0, 1)] == [True, True]
        site.slow_gate.set()
        wait_until(lambda: feed._copy is not None and not len(feed._copy.keys))
        held = feed._copy
        assert held is not None
        assert [held._has(0xA000000000000000 + one) for one in (0, 1)] == [False, True]


@pytest.mark.any_database
def test_a_complete_answer_that_was_slow_is_asked_for_again_and_not_for_ever(
    site: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With very many entries it takes seconds. What is new goes on meanwhile."""
    monkeypatch.setattr(reader, "SOON", 0.2)
    elapsed, started, slow = clocks._elapsed, time.monotonic(), [0.0]
    monkeypatch.setattr(clocks, "_elapsed", lambda: elapsed() + slow[0])

    def answer(is_complete: bool) -> dict[str, Any]:
        slow[0] = copy.CLOCK_MAY_LOSE + 1  # so long took the first answer
        now = ANSWER["now"] + time.monotonic() - started + slow[0]
        return ANSWER | {"complete": is_complete, "now": now}

    site.make = answer
    with reading(site) as feed:
        assert feed.refuses(PAYLOAD) is False
        wait_until(lambda: [path for path, _ in site.asked].count("/revocations/") == 2)
        site.wait_for_requests(4)
    assert [path for path, _ in site.asked].count("/revocations/") == 2


@pytest.mark.any_database
def test_a_complete_answer_that_fails_later_takes_nothing_away(
    site: Canned, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reader, "COMPLETE_EVERY", 0.1)
    site.say(ANSWER | {"keys": KEY})
    with reading(site) as feed:
        feed.refuses(PAYLOAD)
        site.slow = {"version": 2}
        site.slow_gate.set()
        site.say(ANSWER | {"complete": False})
        wait_until(lambda: "the feed can't be read again" in caplog.text)
        assert feed.refuses(PAYLOAD) is False
        assert feed._copy is not None
        assert feed._copy._has(0xA000000000000000)


@pytest.mark.any_database
def test_a_closed_feed_asks_no_more_until_the_next_question(site: Canned) -> None:
    with reading(site) as feed:
        feed.refuses(PAYLOAD)
    asked = len(site.asked)
    time.sleep(0.5)
    assert len(site.asked) == asked
    assert feed.refuses(PAYLOAD) is False
    assert len(site.asked) > asked
    feed.close()
    feed.close()


@pytest.mark.any_database
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_process_reads_for_itself(site: Canned) -> None:
    with reading(site) as feed:
        feed.refuses(PAYLOAD)
        fork = multiprocessing.get_context("fork")
        answers = fork.Queue()

        def child() -> None:
            for _ in range(3):
                time.sleep(feed.max_age)
                answers.put((os.getpid(), feed.refuses(PAYLOAD)))

        process = fork.Process(target=child)
        process.start()
        seen = [answers.get(timeout=PATIENCE) for _ in range(3)]
        process.join(PATIENCE)
    assert seen == [(process.pid, False)] * 3
    assert process.exitcode == 0


@pytest.mark.any_database
@pytest.mark.parametrize("url", ["", "revocations/", "file:///etc/passwd", "ftp://example.com/"])
def test_only_an_address_on_the_web_is_taken(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with https"):
        Feed(url)


@pytest.mark.any_database
@pytest.mark.parametrize("options", [{"max_age": 0}, {"max_age": float("nan")}, {"timeout": -1}])
def test_times_are_above_zero(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Feed("https://example.com/", **options)


@pytest.mark.any_database
def test_python_alone_reads_the_feed(site: Canned) -> None:
    """Neither Django nor any other package is there."""
    code = f"""
import sys
sys.path.insert(0, {str(BASE_DIR)!r})
from tokens.feed import Feed, NotCovered
with Feed({site.url!r}) as feed:
    assert feed.refuses({PAYLOAD!r}) is False
    try:
        feed.refuses({PAYLOAD | {"iat": 1_899_998_999}!r})
    except NotCovered:
        pass
    else:
        sys.exit("not covered")
assert not any("site-packages" in (getattr(module, "__file__", None) or "")
               for module in list(sys.modules.values()))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# With real servers


@contextmanager
def serving(workers: int) -> Iterator[str]:
    """Serve the project on the test's database in several processes; yield its address."""
    port = free_port()
    options = f"--workers {workers} --worker-class gthread --threads 2 --log-level warning"
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "--no-control-socket", *options.split()),
            *("--bind", f"127.0.0.1:{port}", "project.wsgi"),
        ],
        cwd=BASE_DIR,
        env=environment(SECRET_KEY=os.environ["SECRET_KEY"], LOG_LEVEL="ERROR"),
    )
    try:
        yield f"http://127.0.0.1:{port}/api/revocations/"
    finally:
        child.terminate()
        child.wait(PATIENCE)


def told(feed: Feed, payload: dict[str, Any]) -> bool:
    """Return what the feed says, once its copy is young enough: a busy machine takes its time."""
    answers: list[bool] = []

    def answer() -> bool:
        with suppress(FeedTooOld):
            answers.append(feed.refuses(payload))
        return bool(answers)

    wait_until(answer)
    return answers[0]


class History:
    """Tokens, when the revocation of each was answered, and the longest that one was wrong for."""

    def __init__(self, count: int) -> None:
        now = clock.to_epoch(clock.now())
        self.payloads = [
            {"jti": f"jti-{number}", "sid": new_sid(), "user_id": "1", "iat": now, "exp": now + 300}
            for number in range(count)
        ]
        self.answered = [0.0] * count
        self.stale = 0.0
        self.checks = 0

    def revoke(self, number: int) -> None:
        sid = str(self.payloads[number]["sid"])
        blacklist.revoke_session(sid, expires_at=clock.now() + DAY)
        self.answered[number] = time.monotonic()

    def revoke_all(self) -> None:
        try:
            for number in range(len(self.payloads)):
                self.revoke(number)
        finally:
            connections.close_all()

    def check(self, feed: Feed, number: int) -> None:
        answered, begun = self.answered[number], time.monotonic()
        try:
            refused = feed.refuses(self.payloads[number])
        except FeedTooOld:
            return  # a busy machine; nothing was accepted
        self.checks += 1
        if answered and not refused:
            self.stale = max(self.stale, begun - answered)


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.xdist_group("many at once")
@pytest.mark.django_db(transaction=True)
def test_what_a_reader_accepts_was_not_revoked_longer_ago_than_its_copy_is_old() -> None:
    caller = str(RefreshToken.for_user(make_service("introspect_token")).access_token)
    history, draw = History(150), random.Random(1)  # noqa: S311
    with serving(2) as url:
        feeds = [
            Feed(url, headers={"Authorization": f"Bearer {caller}"}, max_age=MAX_AGE, timeout=30)
            for _ in range(2)
        ]
        for feed in feeds:
            assert told(feed, history.payloads[0]) is False
        revoking = threading.Thread(target=history.revoke_all)
        revoking.start()
        while revoking.is_alive() or history.checks < 100:
            for feed in feeds:
                history.check(feed, draw.randrange(len(history.answered)))
            time.sleep(0.001)
        revoking.join()
        time.sleep(MAX_AGE + 0.1)
        missed = [
            number
            for feed in feeds
            for number, payload in enumerate(history.payloads)
            if not told(feed, payload)
        ]
        for feed in feeds:
            feed.close()
    assert all(history.answered)
    assert missed == []
    assert history.stale <= MAX_AGE


@pytest.mark.slow
@pytest.mark.xdist_group("many at once")
@pytest.mark.django_db(transaction=True)
def test_a_service_reads_a_feed_and_logging_out_reaches_it(user: AbstractUser) -> None:
    caller = str(RefreshToken.for_user(make_service("introspect_token")).access_token)
    token = RefreshToken.for_user(user)
    payload = token.access_token.payload
    headers = {"Authorization": f"Bearer {caller}"}
    with serving(1) as url:
        with Feed(url, headers=headers, max_age=MAX_AGE, timeout=30) as feed:
            assert told(feed, payload) is False
            with pytest.raises(NotCovered):
                told(feed, token.payload)
            sessions.end(token.claims)
            wait_until(lambda: told(feed, payload))
        with Feed(url, max_age=MAX_AGE, timeout=30) as feed:
            wait_until(lambda: "answered 401" in why_too_old(feed, payload))
