from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, transaction

from tokens import blacklist, clock
from tokens.claims import Claims
from tokens.exceptions import TokenRevoked, UserUnknown
from tokens.keys import key_for, new_sid, uuid7
from tokens.models import BlacklistEntry

from .threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def make_claims(**changes: Any) -> Claims:
    values: dict[str, Any] = {
        "jti": "a-jti",
        "sid": None,
        "user_id": "1",
        "issuer": "",
        "issued_at": clock.from_epoch(clock.to_epoch(clock.now())),
        "expires_at": clock.from_epoch(clock.to_epoch(clock.now()) + 300),
    }
    return Claims(**values | changes)


def revoke_user(user_id: str, issued_before: Any) -> None:
    BlacklistEntry.objects.create(
        key=key_for("user", user_id, issuer=""),
        scope="user",
        subject=user_id,
        issued_before=issued_before,
        expires_at=clock.now() + timedelta(days=1),
    )


def test_a_revoked_token_is_refused_and_its_neighbour_is_not() -> None:
    assert not blacklist.is_revoked(make_claims())
    blacklist.revoke_token(make_claims())
    assert blacklist.is_revoked(make_claims())
    assert not blacklist.is_revoked(make_claims(jti="A-JTI"))
    assert not blacklist.is_revoked(make_claims(jti="a-jti "))
    assert not blacklist.is_revoked(make_claims(issuer="somebody else"))
    with pytest.raises(TokenRevoked, match="Token is blacklisted"):
        blacklist.check(make_claims())


def test_a_revoked_session_refuses_all_its_tokens_and_no_others() -> None:
    sid, other = new_sid(), new_sid()
    blacklist.revoke_session(sid, expires_at=clock.now())
    assert blacklist.is_revoked(make_claims(sid=sid))
    assert blacklist.is_revoked(make_claims(sid=sid, jti="another", issuer="another"))
    assert not blacklist.is_revoked(make_claims(sid=other))
    assert not blacklist.is_revoked(make_claims())


@pytest.mark.parametrize(
    "sid",
    ["08a5019c-17e1", str(uuid7()), new_sid().upper(), ""],
    ids=["text", "another's", "capitals", "empty"],
)
def test_an_id_that_is_no_session_of_ours_refuses_nothing_so_it_is_an_error(sid: str) -> None:
    with pytest.raises(ValueError, match="not the id of a session"):
        blacklist.revoke_session(sid, expires_at=clock.now())


def test_a_user_entry_refuses_what_was_issued_before_or_in_the_same_second() -> None:
    moment = clock.from_epoch(1_900_000_000)
    revoke_user("1", moment + timedelta(milliseconds=700))
    second = timedelta(seconds=1)
    assert blacklist.is_revoked(make_claims(issued_at=moment - second))
    assert blacklist.is_revoked(make_claims(issued_at=moment))
    assert not blacklist.is_revoked(make_claims(issued_at=moment + second))
    assert not blacklist.is_revoked(make_claims(issued_at=moment, user_id="2"))


def test_a_user_entry_leaves_sessions_alone() -> None:
    revoke_user("1", clock.now())
    early = clock.from_epoch(0)
    assert not blacklist.is_revoked(make_claims(sid=new_sid(), issued_at=early))


def test_revoking_twice_is_once() -> None:
    first, created = blacklist.revoke_token(make_claims(), reason="logout")
    again, created_again = blacklist.revoke_token(make_claims(), reason="reuse")
    assert (created, created_again) == (True, False)
    assert (again.pk, again.reason) == (first.pk, "logout")
    assert BlacklistEntry.objects.count() == 1


def test_writing_an_entry_again_only_ever_extends_it() -> None:
    end = make_claims().expires_at
    for later, stored in [(0, 0), (60, 60), (30, 60), (90, 90)]:
        claims = make_claims(expires_at=end + timedelta(seconds=later))
        entry, _ = blacklist.revoke_token(claims)
        assert entry.expires_at == end + timedelta(seconds=stored)
        assert BlacklistEntry.objects.get().expires_at == entry.expires_at


def test_an_expired_entry_refuses_until_it_is_cleaned_up() -> None:
    blacklist.revoke_token(make_claims(expires_at=clock.from_epoch(0)))
    assert blacklist.is_revoked(make_claims())


def test_revoking_costs_one_statement_and_asking_too(
    statements: Callable[[], Any],
) -> None:
    with statements() as revoking:
        blacklist.revoke_token(make_claims())
    with statements() as asking:
        blacklist.is_revoked(make_claims(sid=new_sid()))
    assert (len(revoking), len(asking)) == (1, 1)
    assert asking[0].startswith("SELECT")


def test_a_later_rollback_undoes_only_what_it_encloses() -> None:
    blacklist.revoke_token(make_claims())
    with pytest.raises(RuntimeError), transaction.atomic():
        blacklist.revoke_token(make_claims(jti="inside"))
        assert not blacklist.revoke_token(make_claims())[1]
        raise RuntimeError
    assert blacklist.is_revoked(make_claims())
    assert not blacklist.is_revoked(make_claims(jti="inside"))


def test_revoking_twice_in_one_transaction_leaves_it_usable() -> None:
    with transaction.atomic():
        assert blacklist.revoke_token(make_claims())[1]
        assert not blacklist.revoke_token(make_claims())[1]
        blacklist.revoke_token(make_claims(jti="more"))
    assert BlacklistEntry.objects.count() == 2


@pytest.mark.parametrize(
    "jti", ["\x00", "\ud800", "😀" * 500, "x" * 6000, "<script>", "a\nb"], ids=ascii
)
def test_an_odd_jti_is_refused_exactly_and_kept_as_printable_text(jti: str) -> None:
    entry, _ = blacklist.revoke_token(make_claims(jti=jti))
    assert blacklist.is_revoked(make_claims(jti=jti))
    assert not blacklist.is_revoked(make_claims(jti=jti + "x"))
    entry.refresh_from_db()
    assert entry.subject.isascii()
    assert entry.subject.isprintable()
    assert list(BlacklistEntry.objects.about(jti, issuer="")) == [entry]


def test_every_key_can_be_stored() -> None:
    # MariaDB refuses one in 64 of all UUIDv8, and with INSERT IGNORE stores zeros instead.
    for number in range(500):
        blacklist.revoke_token(make_claims(jti=f"jti {number}"))
        assert blacklist.is_revoked(make_claims(jti=f"jti {number}"))


def test_a_claim_is_won_by_exactly_one_of_many_threads() -> None:
    for round_ in range(10):
        claims = make_claims(jti=f"round {round_}")

        def attempt(claims: Claims = claims) -> bool:
            try:
                blacklist.use_up(claims)
            except TokenRevoked:
                return False
            return True

        assert sum(at_once(8, attempt)) == 1
    assert BlacklistEntry.objects.count() == 10


def test_many_threads_revoke_one_token_with_one_row_and_no_error() -> None:
    created = [new for _, new in at_once(8, lambda: blacklist.revoke_token(make_claims()))]
    assert sum(created) == 1
    assert BlacklistEntry.objects.count() == 1


def test_the_entry_names_its_user_and_outlives_it(user: AbstractUser) -> None:
    entry, _ = blacklist.revoke_token(make_claims(user_id=str(user.pk)))
    assert entry.user == user
    user.delete()
    entry.refresh_from_db()
    assert entry.user_id is None
    assert blacklist.is_revoked(make_claims())


def test_the_entry_of_an_unknown_user_is_written_all_the_same() -> None:
    entry, created = blacklist.revoke_token(make_claims(user_id="424242"))
    assert created
    assert entry.user_id == 424242
    for user_id in ("no number", "9" * 30, "-" + "9" * 30):
        entry, created = blacklist.revoke_token(make_claims(jti=user_id, user_id=user_id))
        assert (created, entry.user_id) == (True, None)


def test_a_user_is_found_and_checked_in_one_statement(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    claims = make_claims(user_id=str(user.pk))
    with statements() as found:
        assert blacklist.user_of(claims) == user
    assert len(found) == 1
    blacklist.revoke_token(claims)
    with pytest.raises(TokenRevoked):
        blacklist.user_of(claims)


@pytest.mark.parametrize("user_id", [None, "0", "x", "9" * 50, "9" * 5000, "-1", "1.0", "１"])
def test_who_is_no_user_is_unknown(user: AbstractUser, user_id: str | None) -> None:
    with pytest.raises(UserUnknown):
        blacklist.user_of(make_claims(user_id=user_id))


def test_what_the_database_would_coerce_is_not_the_user(user: AbstractUser) -> None:
    for spelling in (f" {user.pk}", f"0{user.pk}", f"+{user.pk}"):
        with pytest.raises(UserUnknown):
            blacklist.user_of(make_claims(user_id=spelling))


def test_users_may_be_named_by_another_field(user: AbstractUser, settings: Any) -> None:
    settings.SIMPLE_JWT = {"USER_ID_FIELD": "username"}
    claims = make_claims(user_id="ada")
    assert blacklist.user_of(claims) == user
    assert blacklist.revoke_token(claims)[0].user_id == user.pk


def test_the_table_refuses_an_entry_that_mixes_scopes() -> None:
    with pytest.raises(IntegrityError):
        BlacklistEntry.objects.create(
            key=key_for("token", "x", issuer=""),
            scope="token",
            subject="x",
            issued_before=clock.now(),
            expires_at=clock.now(),
        )
