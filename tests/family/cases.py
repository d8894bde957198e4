"""What tests/test_family.py runs: a user whose row is written by saves of other models."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.db.models.signals import post_save, pre_delete, pre_save

from tests.conftest import PASSWORD, Login, alive, dead
from tests.family.models import Chief, Club, Member, MemberProxy, Person, PersonProxy, Supplier
from tokens import blacklist, sessions
from tokens.jwt import RefreshToken
from tokens.models import BlacklistEntry, TokenSession

pytestmark = pytest.mark.django_db(transaction=True)

Change = Callable[[Any], object]


def supplier_of(member: Member) -> Supplier:
    supplier = Supplier(person_ptr=Person.objects.get(pk=member.pk))
    supplier.save_base(raw=True)
    return Supplier.objects.get(pk=member.pk)


def chief_of(member: Member) -> Chief:
    chief = Chief(member_ptr=member)
    chief.save_base(raw=True)
    return Chief.objects.get(pk=member.pk)


RELATIVES: dict[str, Callable[[Member], Any]] = {
    "user": lambda member: Member.objects.get(pk=member.pk),
    "proxy": lambda member: MemberProxy.objects.get(pk=member.pk),
    "parent": lambda member: Person.objects.get(pk=member.pk),
    "proxy of the parent": lambda member: PersonProxy.objects.get(pk=member.pk),
    "sibling": supplier_of,
    "child": chief_of,
}


@pytest.fixture(params=RELATIVES.values(), ids=RELATIVES)
def relative(request: pytest.FixtureRequest) -> Callable[[Member], Any]:
    relative: Callable[[Member], Any] = request.param
    return relative


def set_password(person: Any) -> None:
    person.set_password("a new one")
    person.save()


def assign_password(person: Any) -> None:
    person.password = make_password("a new one")
    person.save(update_fields=["password"])


def ban(person: Any) -> None:
    person.status = "banned"
    person.save()


def ban_only(person: Any) -> None:
    person.status = "banned"
    person.save(update_fields=["status"])


CHANGES = [
    (set_password, "password_change"),
    (assign_password, "password_change"),
    (ban, "deactivation"),
    (ban_only, "deactivation"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_a_save_of_any_relative_counts(
    change: Change, reason: str, relative: Callable[[Member], Any], user: Any, make_user: Any
) -> None:
    login, other = Login(user), Login(make_user("grace"))
    changed = relative(user)
    assert alive(Login(user))
    change(changed)
    assert set(BlacklistEntry.objects.values_list("reason", flat=True)) == {reason}
    assert dead(login)
    assert alive(other)


def test_what_does_not_count_ends_nothing(relative: Callable[[Member], Any], user: Any) -> None:
    login, person = Login(user), relative(user)
    person.last_name = "Lovelace"
    person.save()
    person.set_password(PASSWORD)
    person.save()
    assert alive(login)
    assert not BlacklistEntry.objects.exists()


def test_this_device_is_kept(relative: Callable[[Member], Any], user: Any) -> None:
    kept, other, person = RefreshToken.for_user(user), Login(user), relative(user)
    with sessions.keeping(kept):
        set_password(person)
    assert dead(other)
    assert other.refresh(str(kept)).status_code == 200


def test_a_person_who_is_no_user_costs_one_statement_and_ends_nothing(statements: Any) -> None:
    person = Person.objects.create(username="nobody")
    person.set_password("a new one")
    with statements() as ran:
        person.save()
    assert len(ran) == 2, ran
    assert not BlacklistEntry.objects.exists()


@pytest.mark.parametrize(
    "delete",
    [
        lambda user: user.delete(),
        lambda user: Person.objects.filter(pk=user.pk).delete(),
        lambda user: user.club.delete(),
        lambda user: Club.objects.all().delete(),
        lambda user: chief_of(user).delete(),
        lambda user: user.delete(keep_parents=True),
    ],
    ids=["user", "parent", "club", "clubs", "child", "but not its parent"],
)
def test_a_deletion_of_any_relative_counts(delete: Change, user: Any) -> None:
    user.club = Club.objects.create()
    user.save()
    claims = RefreshToken.for_user(user).claims
    delete(user)
    assert not Member.objects.exists()
    assert not TokenSession.objects.exists()
    assert blacklist.is_revoked(claims)
    assert {entry.reason for entry in BlacklistEntry.objects.all()} == {"deletion"}


@pytest.mark.parametrize("log_in", [True, False])
def test_a_club_of_any_size_costs_the_same(log_in: bool, make_user: Any, statements: Any) -> None:
    numbers = set()
    for size in (2, 30):
        clubs = Club.objects.bulk_create(Club() for _ in range(2))
        for one in range(size):
            member = make_user(f"{size}-{one}", club=clubs[one % 2])
            if log_in and one < 2:
                RefreshToken.for_user(member)
        with statements() as ran:
            Club.objects.all().delete()
        ours = ("SELECT DISTINCT", "INSERT INTO")
        numbers.add(sum(sql.startswith(ours) for sql in ran))
        assert not Member.objects.exists()
        assert not TokenSession.objects.exists()
        assert BlacklistEntry.objects.exists() == log_in
    assert numbers == ({3} if log_in else {1})


def test_only_relatives_have_receivers() -> None:
    for model in (Member, MemberProxy, Person, PersonProxy, Supplier, Chief):
        assert pre_save.has_listeners(model)
        assert post_save.has_listeners(model)
    assert not pre_save.has_listeners(Club)
    deleted = {model for model in (Member, MemberProxy, Chief) if pre_delete.has_listeners(model)}
    assert deleted == {Member, MemberProxy, Chief}
    assert not pre_delete.has_listeners(Club)
