"""The methods with the prefix ``a``: the same answers, and nothing that blocks an event loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.test import override_settings
from django.views.debug import ExceptionReporter
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken

from tokens import blacklist, sessions, snapshot
from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.jwt import AccessToken, AnyToken, LoginOutdated, RefreshToken, SlidingToken, asking
from tokens.models import BlacklistEntry, TokenSession
from tokens.origin import Client, used_by
from tokens.sessions import Ended, groups
from tokens.snapshot import Clocks, DatabaseSnapshot, recent

from .asynchronously import hops, run, statements
from .conftest import MINUTE
from .processes import PATIENCE

User: Any = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)


# A snapshot is due at half of this, however busy the machine is.
LONG = 20 * MINUTE


def text_of(kind: Any, user: Any) -> str:
    if kind is AccessToken:
        return str(RefreshToken.for_user(user).access_token)
    return str((RefreshToken if kind is AnyToken else kind).for_user(user))


@pytest.fixture
def cached(settings: Any) -> Any:
    settings.TOKENS_CHECK_MAX_AGE = LONG
    snapshot.reset()
    yield
    snapshot.reset()


KINDS = [AccessToken, RefreshToken, SlidingToken, AnyToken]


def deactivate(user: Any, _text: str) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def delete(user: Any, _text: str) -> None:
    user.delete()


def log_out(_user: Any, text: str) -> None:
    AnyToken(text).blacklist()


def log_out_everywhere(user: Any, _text: str) -> None:
    sessions.end_all(user)


# Verifying


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_verified_in_one_statement(kind: Any, user: Any) -> None:
    text = text_of(kind, user)

    async def work() -> None:
        async with statements() as ran:
            token = await kind.averify(text)
        assert type(token) is kind
        assert token.payload == kind(text, verify=False).payload
        assert token.claims.user_id == str(user.pk)
        assert len(ran) == 1

    run(work)


@pytest.mark.parametrize("change", [deactivate, delete, log_out, log_out_everywhere])
@pytest.mark.parametrize("kind", KINDS)
def test_what_constructing_refuses_is_refused(kind: Any, change: Any, user: Any) -> None:
    text = text_of(kind, user)
    token = kind(text)
    change(user, text)
    with pytest.raises(TokenError) as expected:
        kind(text)
    for refusing in (lambda: kind.averify(text), token.acheck_blacklist):
        with pytest.raises(TokenError) as refusal:
            run(refusing)
        assert str(refusal.value) == str(expected.value)


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", ["", "x", "x" * 9000, "a.b.c", None], ids=repr)
def test_what_is_no_token_is_refused(odd: Any, kind: Any, is_cached: bool, settings: Any) -> None:
    settings.TOKENS_CHECK_MAX_AGE = MINUTE * is_cached
    if odd is None:
        odd = text_of(kind, User.objects.create_user("ada")) + "x"
    with pytest.raises(TokenError):
        run(lambda: kind.averify(odd))


def test_an_expired_token_is_refused(user: Any, cached: Any) -> None:
    token = RefreshToken.for_user(user).access_token
    token.set_exp(lifetime=-MINUTE)
    text = str(token)

    async def work() -> None:
        with pytest.raises(TokenError):
            await AccessToken.averify(text)

    run(work)


def test_a_class_of_the_projects_is_verified_by_its_own_rule(user: Any, cached: Any) -> None:
    class Strict(AccessToken):
        def verify(self) -> None:
            super().verify()
            if not User.objects.filter(pk=self["user_id"], last_name="Lovelace").exists():
                raise TokenError("Not you")

    text = text_of(AccessToken, user)

    async def work() -> None:
        await AccessToken.averify(text)  # the snapshot is there now
        with pytest.raises(TokenError, match="Not you"):
            await Strict.averify(text)
        await User.objects.aupdate(last_name="Lovelace")
        assert type(await Strict.averify(text)) is Strict

    run(work)


# Without a thread


def test_what_the_snapshot_knows_takes_no_thread(
    user: Any, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted, refused = (text_of(AccessToken, user) for _ in range(2))

    async def work() -> None:
        await AccessToken.averify(accepted)  # loads
        await (await AccessToken.averify(refused)).ablacklist()
        loads = snapshot.facts().loads
        with hops(monkeypatch) as called:
            token = await AccessToken.averify(accepted)
            await token.acheck_blacklist()
            with pytest.raises(TokenError, match="blacklisted"):
                await AccessToken.averify(refused)
        assert called == []
        assert snapshot.facts().loads == loads

    run(work)


@pytest.mark.parametrize("kind", [RefreshToken, SlidingToken, AnyToken])
def test_other_tokens_are_asked_about_as_always(
    kind: Any, user: Any, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = text_of(kind, user)

    async def work() -> None:
        for _ in range(2):
            with hops(monkeypatch) as called:
                await kind.averify(text)
            assert len(called) == 1

    run(work)


def test_keys_of_another_server_are_fetched_in_a_thread(
    user: Any, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rest_framework_simplejwt.state import token_backend

    text = text_of(AccessToken, user)
    where: list[Any] = []

    def fetch(_token: Any) -> Any:
        where.append(threading.current_thread())
        return token_backend.signing_key

    monkeypatch.setattr(token_backend, "jwks_client", object())
    monkeypatch.setattr(token_backend, "get_verifying_key", fetch)
    run(lambda: AccessToken.averify(text))
    assert where
    assert threading.current_thread() not in where


def standing(now: list[float]) -> Clocks:
    """Return clocks that stand still until ``now`` is changed."""
    ahead = Clocks().wall() - now[0]
    return Clocks(elapsed=lambda: now[0], wall=lambda: ahead + now[0])


def test_a_stale_snapshot_blocks_no_event_loop(
    user: Any, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = text_of(AccessToken, user)
    now, reading, go_on = [1000.0], threading.Event(), threading.Event()
    go_on.set()

    def read(*args: Any, **kwargs: Any) -> Any:
        reading.set()
        assert go_on.wait(PATIENCE)
        return recent.read(*args, **kwargs)

    one = DatabaseSnapshot("default", clocks=standing(now), read=read)
    snapshot.reset(one)

    async def work() -> None:
        go_on.clear()
        first = asyncio.create_task(AccessToken.averify(text))
        while not reading.is_set():
            await asyncio.sleep(0.01)  # this goes on while the other loads
        go_on.set()
        await first
        assert one.facts().loads == 1
        now[0] += 800  # seconds: it is due, and young enough
        reading.clear()
        go_on.clear()
        loading = asyncio.create_task(AccessToken.averify(text))
        while not reading.is_set():
            await asyncio.sleep(0.01)
        with hops(monkeypatch) as called:
            await AccessToken.averify(text)
        assert called == []
        go_on.set()
        await loading
        assert one.facts().loads == 2

    run(work)


def test_a_snapshot_that_is_too_old_answers_nobody(user: Any) -> None:
    claims = AccessToken(text_of(AccessToken, user)).claims
    now = [1000.0]
    snapshot.reset()
    one = DatabaseSnapshot("default", clocks=standing(now))
    assert one.refuses_at_once(claims, 60) is None
    assert one.refuses(claims, 60) is False
    assert one.refuses_at_once(claims, 60) is False
    turn = one._turns._turn
    with turn:  # somebody loads
        for age, answer in ((50, False), (61, None)):
            now[0] = 1000.0 + age
            assert one.refuses_at_once(claims, 60) is answer
    assert one.refuses_at_once(claims, 60) is None
    assert snapshot.refuses_at_once(claims, using="default") is None  # checks are strict


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_report_shows_no_token(
    kind: Any, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = text_of(kind, user)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("gone")

    for name in ("about_access", "about_refresh"):
        monkeypatch.setattr(asking, name, fail)
    monkeypatch.setattr(JWTAuthentication, "ask_once", lambda _self, find, _none: find(None))
    monkeypatch.setattr(JWTAuthentication, "get_user", fail)
    monkeypatch.setattr(JWTAuthentication, "get_validated_token", lambda _self, _raw: None)
    for ask in (kind.averify, JWTAuthentication().aauthenticate_token):
        with pytest.raises(RuntimeError, match="gone") as raised:
            run(lambda ask=ask: ask(text))
        below = raised.value.__traceback__
        while below is not None and "/tests/" in below.tb_frame.f_code.co_filename:
            below = below.tb_next
        while below is not None and "/tokens/" not in below.tb_frame.f_code.co_filename:
            below = below.tb_next
        assert below is not None
        report = ExceptionReporter(None, RuntimeError, raised.value, below)
        frames = report.get_traceback_frames()
        assert any("asgiref" in frame["filename"] for frame in frames)
        ours = [frame for frame in frames if "/tests/" not in frame["filename"]]
        assert text not in str([frame["vars"] for frame in ours])


# Making and revoking


def test_a_login_starts_where_the_caller_says(user: Any) -> None:
    async def work() -> str:
        with used_by(Client(ip_address="192.0.2.1", user_agent="an app")):
            refresh = await RefreshToken.afor_user(user)
        return str(refresh.access_token)

    text = run(work)
    session = TokenSession.objects.get()
    assert (session.ip_address, session.user_agent) == ("192.0.2.1", "an app")
    assert AccessToken(text).claims.sid == str(session.sid)


@pytest.mark.parametrize("kind", [AccessToken, SlidingToken])
def test_a_token_without_a_session_is_made(kind: Any, user: Any) -> None:
    assert kind(str(run(lambda: kind.afor_user(user)))).claims.user_id == str(user.pk)


@pytest.mark.parametrize("kind", [AccessToken, RefreshToken, SlidingToken])
def test_no_token_is_made_for_what_the_user_was(kind: Any, user: Any) -> None:
    before = User.objects.get(pk=user.pk)
    user.set_password("another long password")
    user.save()
    with pytest.raises(LoginOutdated):
        run(lambda: kind.afor_user(before))


def test_a_longer_life_is_written_when_the_token_is_encoded(user: Any) -> None:
    async def work() -> RefreshToken:
        refresh = await RefreshToken.afor_user(user)
        refresh.set_exp(lifetime=MINUTE * 60 * 24 * 30)
        return RefreshToken(await refresh.aencode(), verify=False)

    assert run(work).claims.expires_at == TokenSession.objects.get().expires_at


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_revoked(kind: Any, user: Any) -> None:
    text = text_of(kind, user)

    async def work() -> Any:
        token = await kind.averify(text)
        return await token.ablacklist(reason="admin"), await token.ablacklist()

    (entry, is_new), (again, is_new_again) = run(work)
    assert (entry.reason, is_new, is_new_again) == ("admin", True, False)
    assert entry.key == again.key
    with pytest.raises(TokenError):
        kind(text)


# Sessions


def test_sessions_are_listed_and_ended(user: Any) -> None:
    kept, one, other, last = (RefreshToken.for_user(user).claims for _ in range(4))

    async def work() -> None:
        assert len([session async for session in sessions.of_user(user)]) == 4
        assert await sessions.aend_one(user, one.sid or "")
        assert not await sessions.aend_one(user, one.sid or "")
        entry, is_new = await sessions.aend(other)
        assert (entry.subject, is_new) == (other.sid, True)
        assert await sessions.aend_all(user, but=kept.sid, reason="admin") == 1
        assert await sessions.aend_all(user) == 1

    run(work)
    assert all(map(blacklist.is_revoked, (kept, one, other, last)))
    assert BlacklistEntry.objects.get(subject=last.sid).reason == "admin"


def test_a_group_is_logged_out_in_batches_and_others_get_their_turn(
    make_user: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "USERS_IN_BATCH", 2)
    people = [make_user(name) for name in ("ada", "grace", "linus")]
    claims = [RefreshToken.for_user(one).claims for one in people]
    loop_thread, seen = threading.current_thread(), list[Any]()

    def progress(ended: Ended) -> None:
        seen.append((ended, threading.current_thread() is loop_thread))

    async def work() -> Ended:
        return await sessions.aend_for(User.objects.all(), reason="admin", progress=progress)

    assert run(work) == Ended(3, 3)
    assert seen == [(Ended(2, 2), True), (Ended(1, 1), True)]
    assert all(map(blacklist.is_revoked, claims))


def test_a_task_that_is_cancelled_stops_between_two_batches(
    make_user: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "USERS_IN_BATCH", 1)
    for name in ("ada", "grace", "linus"):
        RefreshToken.for_user(make_user(name))

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        await sessions.aend_for(User.objects.all(), progress=lambda _ended: task.cancel())

    with pytest.raises(asyncio.CancelledError):
        run(work)
    assert TokenSession.objects.count() in (1, 2)


# Authentication


def request_with(text: str | None) -> HttpRequest:
    request = HttpRequest()
    if text is not None:
        request.META["HTTP_AUTHORIZATION"] = f"Bearer {text}"
    return request


CLASSES = [JWTAuthentication, JWTStatelessUserAuthentication]


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("kind", CLASSES)
def test_a_request_is_authenticated_as_always(
    kind: Any, is_cached: bool, user: Any, settings: Any
) -> None:
    settings.TOKENS_CHECK_MAX_AGE = MINUTE * is_cached
    snapshot.reset()
    text = text_of(AccessToken, user)
    gone = text_of(AccessToken, user)

    async def work() -> None:
        for _ in range(2):
            for found in (
                await kind().aauthenticate(request_with(text)),
                await kind().aauthenticate_token(text),
            ):
                assert found[0].pk == user.pk or found[0].pk == str(user.pk)
                assert found[1].claims.user_id == str(user.pk)
            assert await kind().aauthenticate(request_with(None)) is None
        await (await AccessToken.averify(gone)).ablacklist()
        for _ in range(2):
            for ask in (
                lambda: kind().aauthenticate(request_with(gone)),
                lambda: kind().aauthenticate_token(gone),
                lambda: kind().aauthenticate_token("x"),
                lambda: kind().aauthenticate(request_with("x")),
                lambda: kind().aauthenticate_token(""),
            ):
                with pytest.raises(InvalidToken):
                    await ask()

    run(work)
    snapshot.reset()


@pytest.mark.parametrize("kind", CLASSES)
def test_authenticating_takes_one_statement(kind: Any, user: Any) -> None:
    text = text_of(AccessToken, user)

    async def work() -> None:
        for ask in (
            lambda: kind().aauthenticate(request_with(text)),
            lambda: kind().aauthenticate_token(text),
        ):
            async with statements() as ran:
                await ask()
            assert len(ran) == 1

    run(work)


def test_with_a_snapshot_the_stateless_class_takes_no_thread(
    user: Any, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, gone = (text_of(AccessToken, user) for _ in range(2))
    authentication = JWTStatelessUserAuthentication()

    async def work() -> None:
        await (await AccessToken.averify(gone)).ablacklist()
        await AccessToken.averify(text)
        with hops(monkeypatch) as called:
            for ask in (
                lambda text: authentication.aauthenticate(request_with(text)),
                authentication.aauthenticate_token,
            ):
                assert (await ask(text))[0].pk == str(user.pk)
                with pytest.raises(InvalidToken):
                    await ask(gone)
        assert called == []

    run(work)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_of_the_projects_decides_by_its_own_rule(kind: Any, user: Any, cached: Any) -> None:
    class Strict(kind):  # type: ignore[misc]
        def get_user(self, validated_token: Any) -> Any:
            found = super().get_user(validated_token)
            if not User.objects.filter(pk=found.pk, is_staff=True).exists():
                raise APIException("Not you")
            return found

    text = text_of(AccessToken, user)

    async def work() -> None:
        await AccessToken.averify(text)
        for ask in (
            lambda: Strict().aauthenticate(request_with(text)),
            lambda: Strict().aauthenticate_token(text),
        ):
            with pytest.raises(APIException, match="Not you"):
                await ask()

    run(work)


def test_a_token_class_of_simplejwts_is_decoded_in_a_thread(
    user: Any, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (PlainAccessToken,))
    text = text_of(AccessToken, user)
    gone = text_of(AccessToken, user)

    async def work() -> None:
        await (await AccessToken.averify(gone)).ablacklist()
        authentication = JWTStatelessUserAuthentication()
        with hops(monkeypatch) as called:
            assert (await authentication.aauthenticate_token(text))[0].pk == str(user.pk)
        assert len(called) == 1
        with pytest.raises(InvalidToken):
            await authentication.aauthenticate_token(gone)

    run(work)


@override_settings(TOKENS_PATCH_SIMPLEJWT=True)
def test_a_class_that_is_ours_by_now_is_decoded_at_once(
    user: Any, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (PlainAccessToken,))
    text = text_of(AccessToken, user)

    async def work() -> None:
        await AccessToken.averify(text)
        with hops(monkeypatch) as called:
            await JWTStatelessUserAuthentication().aauthenticate_token(text)
        assert called == []

    run(work)
