import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser
from django.db import connection, transaction

from tokens import blacklist, clock, sessions
from tokens.claims import Claims
from tokens.exceptions import TokenReused, TokenRevoked
from tokens.jwt import RefreshToken
from tokens.models import BlacklistEntry, TokenSession
from tokens.origin import Client, used_by

from .threads import at_once, each_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def rotate(claims: Claims) -> sessions.Successor:
    fresh = RefreshToken()
    new = sessions.Successor(fresh.claims.jti, fresh.current_time, fresh.claims.expires_at)
    return sessions.rotate(sessions.find(claims), claims, new)


def heir(claims: Claims, successor: sessions.Successor) -> Claims:
    return Claims(
        successor.jti,
        claims.sid,
        claims.user_id,
        claims.issuer,
        successor.issued_at,
        successor.expires_at,
    )


@pytest.fixture
def claims(user: AbstractUser) -> Claims:
    return RefreshToken.for_user(user).claims


def accepts(claims: Claims) -> bool:
    try:
        sessions.accepting(claims)
    except TokenRevoked:
        return False
    return True


def outlive_grace() -> None:
    past = clock.now() - timedelta(seconds=11)
    TokenSession.objects.update(rotated_at=past)


def test_a_login_is_one_row_that_names_its_refresh_token(
    user: AbstractUser, claims: Claims
) -> None:
    session = TokenSession.objects.get()
    assert str(session.sid) == claims.sid
    assert (session.user, session.refresh_jti) == (user, claims.jti)
    assert (session.expires_at, session.previous_jti) == (claims.expires_at, "")


def test_rotation_updates_the_row_in_place(claims: Claims) -> None:
    successor = rotate(claims)
    session = TokenSession.objects.get()
    assert (session.refresh_jti, session.previous_jti) == (successor.jti, claims.jti)
    assert session.expires_at == successor.expires_at
    assert BlacklistEntry.objects.count() == 0


def test_within_the_grace_period_the_predecessor_gets_the_same_successor(claims: Claims) -> None:
    assert rotate(claims) == rotate(claims) == rotate(claims)


def test_the_grace_period_does_not_renew_itself(claims: Claims) -> None:
    rotate(claims)
    began = TokenSession.objects.get().rotated_at
    rotate(claims)
    assert TokenSession.objects.get().rotated_at == began


def test_after_the_grace_period_reuse_ends_the_session(
    claims: Claims, caplog: pytest.LogCaptureFixture
) -> None:
    newest = heir(claims, rotate(claims))
    outlive_grace()
    with caplog.at_level(logging.WARNING, "tokens"), pytest.raises(TokenReused):
        rotate(claims)
    assert "reused" in caplog.text
    assert not TokenSession.objects.exists()
    assert BlacklistEntry.objects.get().reason == "reuse"
    assert blacklist.is_revoked(newest)
    with pytest.raises(TokenRevoked):
        rotate(newest)


def test_an_older_ancestor_gets_no_grace(claims: Claims) -> None:
    second = heir(claims, rotate(claims))
    rotate(second)
    with pytest.raises(TokenReused):
        rotate(claims)
    assert not TokenSession.objects.exists()


def test_without_grace_the_second_use_ends_the_session(claims: Claims, settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    rotate(claims)
    with pytest.raises(TokenReused):
        rotate(claims)


def test_an_ended_session_gets_no_grace(claims: Claims) -> None:
    rotate(claims)
    sessions.end(claims)
    with pytest.raises(TokenRevoked):
        rotate(claims)


def test_ending_writes_an_entry_that_covers_the_newest_refresh_token(claims: Claims) -> None:
    far = clock.from_epoch(clock.to_epoch(clock.now()) + 90 * 86400)
    TokenSession.objects.update(expires_at=far)
    entry, created = sessions.end(claims)
    assert created
    assert (entry.scope, entry.expires_at) == ("session", far)
    assert not TokenSession.objects.exists()


def test_ending_twice_is_once(claims: Claims) -> None:
    first, _ = sessions.end(claims)
    again, created = sessions.end(claims)
    assert not created
    assert again.pk == first.pk


def test_an_entry_by_itself_refuses_the_refresh(claims: Claims) -> None:
    blacklist.revoke_session(claims.sid or "", expires_at=claims.expires_at)
    with pytest.raises(TokenRevoked):
        rotate(claims)


def test_a_refresh_token_is_refused_without_its_row_whatever_the_blacklist_says(
    claims: Claims,
) -> None:
    assert accepts(claims)
    TokenSession.objects.all().delete()
    assert not BlacklistEntry.objects.exists()
    assert not accepts(claims)
    with pytest.raises(TokenRevoked):
        sessions.find(claims)


def test_accepting_is_a_question_of_one_statement_that_changes_nothing(
    claims: Claims, statements: Callable[[], Any]
) -> None:
    newest = heir(claims, rotate(claims))
    with statements() as asked:
        assert accepts(claims)
    assert len(asked) == 1
    outlive_grace()
    assert not accepts(claims)
    assert accepts(newest)
    assert not BlacklistEntry.objects.exists()


def test_a_token_that_names_another_user_is_refused(claims: Claims, make_user: Any) -> None:
    other = make_user("grace")
    stranger = Claims(
        claims.jti, claims.sid, str(other.pk), "", claims.issued_at, claims.expires_at
    )
    with pytest.raises(TokenRevoked):
        sessions.find(stranger)


def test_a_new_password_ends_the_session_at_its_next_refresh(
    user: AbstractUser, claims: Claims
) -> None:
    type(user).objects.update(password=make_password("another"))  # sends no signal
    with pytest.raises(TokenRevoked):
        rotate(claims)
    assert BlacklistEntry.objects.get().reason == "password_change"


def test_a_rotated_secret_key_ends_no_session(claims: Claims, settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new secret that is long enough to be one"
    assert rotate(claims)


def test_a_session_ends_with_its_user(user: AbstractUser, claims: Claims) -> None:
    user.delete()
    assert not accepts(claims)


def test_metadata_is_kept_unless_switched_off(user: AbstractUser, settings: Any) -> None:
    client = Client("192.0.2.7", "curl/8.0 " + "x" * 500)
    with used_by(client):
        RefreshToken.for_user(user)
    session = TokenSession.objects.get()
    assert (session.ip_address, len(session.user_agent)) == ("192.0.2.7", 255)
    session.delete()
    settings.TOKENS_SESSION_METADATA = False
    with used_by(client):
        RefreshToken.for_user(user)
    session = TokenSession.objects.get()
    assert (session.ip_address, session.user_agent) == (None, "")


def test_of_many_threads_one_rotates_and_all_get_its_successor(claims: Claims) -> None:
    for _ in range(10):
        successors = at_once(8, lambda claims=claims: rotate(claims))
        assert len({successor.jti for successor in successors}) == 1
        assert len({successor.expires_at for successor in successors}) == 1
        claims = heir(claims, successors[0])
    assert TokenSession.objects.get().refresh_jti == claims.jti


@pytest.mark.skipif(connection.vendor != "mysql", reason="others refuse to update such a snapshot")
def test_the_loser_of_a_race_is_no_thief_because_its_transaction_sees_the_past(
    claims: Claims,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        with transaction.atomic():
            sessions.find(claims)  # makes the snapshot
            [won] = at_once(1, lambda: rotate(claims))
            lost = rotate(claims)
    finally:
        connection.close()

    assert lost == won
    assert TokenSession.objects.exists()


def test_without_grace_exactly_one_of_many_threads_gets_a_successor(
    user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)

    def attempt(claims: Claims) -> bool:
        try:
            rotate(claims)
        except TokenRevoked:
            return False
        return True

    for _ in range(10):
        claims = RefreshToken.for_user(user).claims
        assert sum(at_once(8, lambda claims=claims: attempt(claims))) == 1


def test_a_refresh_that_races_with_logout_leaves_no_survivor(user: AbstractUser) -> None:
    for _ in range(15):
        claims = RefreshToken.for_user(user).claims

        def refresh(claims: Claims = claims) -> Claims | None:
            try:
                return heir(claims, rotate(claims))
            except TokenRevoked:
                return None

        def log_out(claims: Claims = claims) -> None:
            sessions.end(claims)

        for survivor in each_at_once([refresh, refresh, log_out, refresh]):
            if survivor is not None:
                assert not accepts(survivor)
                assert blacklist.is_revoked(survivor)
    assert not TokenSession.objects.exists()
