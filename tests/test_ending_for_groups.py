"""``sessions.end_for``: users of whatever shape are logged out everywhere, in batches."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Window
from django.db.models.functions import RowNumber
from django.test import override_settings
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import blacklist, retry, sessions, snapshot
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import BlacklistEntry, TokenSession
from tokens.sessions import Ended, groups
from tokens.signals import session_ended

from .conftest import SECOND, Login, alive, dead
from .processes import PATIENCE
from .snippets import HOWTO, snippet
from .threads import at_once, each_at_once

User: Any = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("ada", "grace", "linus", "margaret", "dennis")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "USERS_IN_BATCH", 2)


@pytest.fixture
def people(make_user: Callable[..., Any]) -> list[Any]:
    """Five users; all but Ada are customers, and Grace and Linus are partners, too."""
    made = [make_user(name, last_name=name[0]) for name in NAMES]
    customers, partners = (Group.objects.create(name=name) for name in ("customers", "partners"))
    customers.user_set.set(made[1:])
    partners.user_set.set(made[1:3])
    return made


def of_groups() -> Any:
    return User.objects.filter(groups__name__in=["customers", "partners"])


def unfiltered() -> Any:
    return Group.objects.get(name="customers").user_set


HAS_SESSION = Exists(TokenSession.objects.filter(user=OuterRef("pk")))

# Each names all but Ada.
SHAPES: dict[str, Callable[[], Any]] = {
    "filtered": lambda: User.objects.exclude(username="ada"),
    "joined, with duplicates": of_groups,
    "distinct": lambda: of_groups().distinct(),
    "ordered": lambda: of_groups().order_by("-groups__name", "-username"),
    "a related manager": unfiltered,
    "sliced": lambda: User.objects.order_by("username")[1:],
    "sliced, with duplicates": lambda: of_groups().order_by("groups__name")[:6],
    "values": lambda: User.objects.exclude(username="ada").values("username", "email"),
    "keys": lambda: User.objects.exclude(username="ada").values_list("pk"),
    "flat keys": lambda: User.objects.exclude(username="ada").values_list("pk", flat=True),
    "of another model": lambda: User.groups.through.objects.values_list("user_id", flat=True),
    "grouped": lambda: User.objects.annotate(number=Count("groups")).filter(number__gt=0),
    "values, grouped": lambda: (
        User.objects.values("pk").annotate(number=Count("groups")).filter(number__gt=0)
    ),
    "numbered": lambda: User.objects.annotate(
        place=Window(RowNumber(), order_by=F("username").asc())
    ).filter(place__gt=1),
    "a union": lambda: User.objects.filter(username="dennis").union(of_groups()),
    "deferred": lambda: User.objects.exclude(username="ada").only("email"),
    "with its relations": lambda: User.objects.exclude(username="ada").prefetch_related("groups"),
    "of a database": lambda: User.objects.using("default").exclude(username="ada"),
    "with sessions": lambda: of_groups().filter(HAS_SESSION),
    "a list": lambda: list(User.objects.exclude(username="ada")),
    "a generator": lambda: User.objects.exclude(username="ada").iterator(),
    "a set of keys": lambda: {one.pk for one in User.objects.exclude(username="ada")},
    "users and keys": lambda: [
        User.objects.get(username="grace"),
        *User.objects.exclude(username__in=["ada", "grace"]).values_list("pk", flat=True),
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_users_of_any_shape_are_logged_out(shape: str, people: list[Any]) -> None:
    claims = {user.username: RefreshToken.for_user(user).claims for user in people}
    claims["grace again"] = RefreshToken.for_user(people[1]).claims
    plain = {user.username: AccessToken.for_user(user).claims for user in people}
    batches: list[Ended] = []
    ended = sessions.end_for(SHAPES[shape](), progress=batches.append)
    assert ended.sessions == 5
    assert ended == sum(batches, Ended())
    # Those who are named twice in different batches may count twice.
    assert ended.users == 4 or "with duplicates" in shape or shape == "of another model"
    assert max(batch.users for batch in batches) <= 2
    assert TokenSession.objects.get().user == people[0]
    for tokens in (claims, plain):
        refused = {name for name, one in tokens.items() if blacklist.is_revoked(one)}
        assert refused == tokens.keys() - {"ada"}
    entries = BlacklistEntry.objects.filter(scope="user")
    assert {entry.subject for entry in entries} == {str(user.pk) for user in people[1:]}
    assert {entry.reason for entry in BlacklistEntry.objects.all()} == {"logout_all"}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="DISTINCT ON is PostgreSQL's")
def test_what_is_distinct_by_fields_stays_so(people: list[Any]) -> None:
    for user in people:
        RefreshToken.for_user(user)
    User.objects.update(last_name="x")
    # Without the session that ended, another user would be the first.
    found = User.objects.filter(HAS_SESSION).order_by("last_name", "username")
    assert sessions.end_for(found.distinct("last_name")) == Ended(1, 1)
    assert not TokenSession.objects.filter(user=people[0]).exists()


def test_a_slice_stays_what_it_was(people: list[Any]) -> None:
    for user in people:
        RefreshToken.for_user(user)
    found = User.objects.filter(HAS_SESSION).order_by("username")
    assert sessions.end_for(found[:3]) == Ended(3, 3)


@pytest.mark.any_database
@pytest.mark.parametrize("nobody", [User.objects.none, list, lambda: [0], lambda: iter(())])
def test_there_may_be_nobody(nobody: Callable[[], Any], user: Any) -> None:
    if nobody() == [0]:
        gone = User.objects.create_user("gone")
        pk = gone.pk
        gone.delete()
        assert sessions.end_for([pk]) == Ended(0, 0)
    else:
        assert sessions.end_for(nobody()) == Ended(0, 0)
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize(
    "wrong",
    [
        lambda: "ada",
        lambda: b"ada",
        lambda: Group.objects.all(),
        lambda: [Group.objects.get()],
        lambda: User.objects.values("last_name").annotate(number=Count("pk")),
        lambda: User.objects.get(),
        lambda: None,
    ],
)
def test_what_names_no_users_is_a_mistake(wrong: Callable[[], Any], user: Any) -> None:
    Group.objects.create(name="customers")
    login = RefreshToken.for_user(user)
    with pytest.raises(TypeError):
        sessions.end_for(wrong())
    assert not blacklist.is_revoked(login.claims)


@pytest.mark.any_database
def test_users_whom_the_default_manager_hides_can_be_named(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nobody(type(User.objects)):  # type: ignore[misc]
        def get_queryset(self) -> Any:
            return super().get_queryset().none()

    login = RefreshToken.for_user(user)
    hiding = Nobody()
    hiding.model = User
    monkeypatch.setattr(User._meta, "default_manager", hiding)
    assert sessions.end_for(hiding.all()) == Ended(0, 0)
    assert sessions.end_for([user.pk]) == Ended(1, 1)
    assert blacklist.is_revoked(login.claims)


@pytest.mark.any_database
def test_the_reason_is_the_callers(user: Any) -> None:
    Login(user)
    sessions.end_for([user], reason="deactivation")
    assert set(BlacklistEntry.objects.values_list("reason", flat=True)) == {"deactivation"}


@pytest.mark.any_database
def test_a_group_reads_like_one_user(people: list[Any]) -> None:
    def written(end: Callable[[], object]) -> list[dict[str, Any]]:
        RefreshToken.for_user(people[1])
        end()
        rows = list(BlacklistEntry.objects.order_by("scope").values())
        BlacklistEntry.objects.all().delete()
        moments = {"key", "subject", "issued_before", "created_at", "expires_at"}
        return [{name: row[name] for name in row.keys() - moments} for row in rows]

    one = written(lambda: sessions.end_all(people[1]))
    assert written(lambda: sessions.end_for([people[1]])) == one


@pytest.mark.any_database
def test_old_tokens_are_refused_over_http(people: list[Any]) -> None:
    logins = [Login(user) for user in people]
    plain = [
        (str(PlainAccessToken.for_user(user)), str(PlainRefreshToken.for_user(user)))
        for user in people
    ]
    sessions.end_for(of_groups())
    for login, (access, refresh) in zip(logins[1:], plain[1:], strict=True):
        assert dead(login)
        assert login.me(access).status_code == login.refresh(refresh).status_code == 401
    assert alive(logins[0])
    assert alive(Login(people[1]))


@pytest.mark.any_database
def test_receivers_hear_of_each_session(people: list[Any]) -> None:
    sids = {RefreshToken.for_user(user).claims.sid for user in people}
    heard: list[tuple[Any, Any, bool]] = []

    def receive(sid: str, user_id: Any, reason: str, **_: Any) -> None:
        heard.append((sid, reason, connection.in_atomic_block))

    session_ended.connect(receive)
    try:
        sessions.end_for(User.objects.all(), reason="admin")
    finally:
        session_ended.disconnect(receive)
    assert sorted(heard) == sorted((sid, "admin", False) for sid in sids)


@pytest.mark.any_database
@override_settings(TOKENS_CHECK_MAX_AGE=60 * SECOND)
def test_cached_checks_hear_of_it(people: list[Any]) -> None:
    snapshot.reset()
    claims = [RefreshToken.for_user(user).access_token.claims for user in people]
    assert not any(map(blacklist.is_revoked, claims))
    sessions.end_for(User.objects.all())
    assert all(map(blacklist.is_revoked, claims))
    snapshot.reset()


IMPORTS = "from django.contrib.auth import get_user_model\n\nfrom tokens import sessions\n\n"


def documented(beginning: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    code = snippet("sessions", language="python", beginning=IMPORTS + beginning, folder=HOWTO)
    exec(code, names)  # noqa: S102
    return names


@pytest.mark.any_database
def test_a_group_is_logged_out_as_documented(people: list[Any], capsys: Any) -> None:
    logins = [Login(user) for user in people]
    documented("customers = ")
    assert capsys.readouterr().out == "4 4\n"
    assert [dead(login) for login in logins] == [False, True, True, True, True]


@pytest.mark.any_database
def test_a_bulk_update_ends_sessions_as_documented(people: list[Any]) -> None:
    User.objects.exclude(username="ada").update(email="x@example.com")
    logins = [Login(user) for user in people]
    documented("users = ")
    User.objects.update(is_active=True)
    assert [dead(login) for login in logins] == [False, True, True, True, True]


# Batches


def test_statements_of_a_batch_are_constant(
    people: list[Any], statements: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "USERS_IN_BATCH", 500)

    def count(found: Any) -> int:
        with statements() as ran:
            sessions.end_for(found)
        return len(ran)

    # Twice: an entry of a user is new only once.
    sessions.end_for(User.objects.all())
    RefreshToken.for_user(people[0])
    few = count(User.objects.filter(username="ada"))
    for user in people * 10:
        RefreshToken.for_user(user)
    assert count(User.objects.all()) == few
    assert few <= 9


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_batch_has_a_number_of_sessions_that_is_bounded(
    number: int, people: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "USERS_IN_BATCH", 500)
    monkeypatch.setattr(groups, "SESSIONS_IN_BATCH", 4)
    for user in people:
        for _ in range(number):
            RefreshToken.for_user(user)
    batches: list[Ended] = []
    ended = sessions.end_for(User.objects.all(), progress=batches.append)
    assert ended == Ended(5 * number, 5)
    assert max(batch.sessions for batch in batches) <= max(4, number)
    assert len(batches) == (5 if number > 2 else 3 if number == 2 else 2)


@pytest.mark.any_database
def test_no_batch_holds_more_users_than_it_may(
    make_user: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a queryset nor a generator is read further than the batch needs."""
    User.objects.bulk_create(User(username=f"user{number}") for number in range(7))
    taken: list[int] = []

    def keys() -> Any:
        for pk in User.objects.values_list("pk", flat=True):
            taken.append(pk)
            yield pk

    seen: list[int] = []
    sessions.end_for(keys(), progress=lambda _batch: seen.append(len(taken)))
    assert seen == [2, 4, 6, 7]
    found = User.objects.all()
    assert sessions.end_for(found) == Ended(0, 7)
    assert found._result_cache is None


def test_what_is_done_stays_done_and_the_next_time_goes_on(people: list[Any]) -> None:
    for user in people:
        RefreshToken.for_user(user)

    def interrupt(_batch: Ended) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sessions.end_for(User.objects.all(), progress=interrupt)
    assert TokenSession.objects.count() == 3
    assert sessions.end_for(User.objects.filter(HAS_SESSION)) == Ended(3, 3)


@pytest.mark.any_database
def test_a_lost_connection_is_tried_again(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    RefreshToken.for_user(user)
    real, failures = groups.end_many, [OperationalError("server closed the connection")]

    def fail_once(*args: Any, **options: Any) -> int:
        if failures:
            raise failures.pop()
        return real(*args, **options)

    monkeypatch.setattr(retry, "WAITS", (0,))
    monkeypatch.setattr(groups, "end_many", fail_once)
    assert sessions.end_for(User.objects.all()) == Ended(1, 1)


@pytest.mark.parametrize("commits", [True, False])
def test_in_a_transaction_all_belongs_to_it(commits: bool, people: list[Any]) -> None:
    claims = [RefreshToken.for_user(user).claims for user in people]
    with transaction.atomic():
        assert sessions.end_for(User.objects.all()) == Ended(5, 5)
        assert all(map(blacklist.is_revoked, claims))
        if not commits:
            transaction.set_rollback(True)
    assert [blacklist.is_revoked(one) for one in claims] == [commits] * 5
    assert TokenSession.objects.exists() is not commits


# Races


needs_several_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer"
)


@needs_several_writers
def test_a_login_that_is_committed_meanwhile_does_not_survive(user: Any) -> None:
    """The lock on the user's row waits for a login that has written its session."""
    written, found = threading.Event(), list[Any]()

    def log_in() -> None:
        with transaction.atomic():
            found.append(RefreshToken.for_user(user))
            written.set()
            end_waits.wait(0.5)

    end_waits = threading.Event()

    def end() -> Ended:
        assert written.wait(PATIENCE)
        return sessions.end_for(User.objects.all())

    _, ended = each_at_once([log_in, end])
    assert ended == Ended(1, 1)
    assert blacklist.is_revoked(found[0].claims)
    assert not TokenSession.objects.exists()


def test_a_token_without_sid_becomes_no_session_that_stays(user: Any) -> None:
    old = [str(PlainRefreshToken.for_user(user)) for _ in range(6)]
    login = Login(user)
    answers: list[Any] = []

    def refresh_all() -> None:
        answers.extend(login.refresh(token) for token in old)

    each_at_once([refresh_all, lambda: sessions.end_for(User.objects.all())])
    won = [answer.json()["refresh"] for answer in answers if answer.status_code == 200]
    assert all(login.refresh(token).status_code == 401 for token in [*won, *old])
    assert not TokenSession.objects.exists()


def test_a_refresh_that_races_leaves_no_survivor(people: list[Any]) -> None:
    logins = [Login(user) for user in people]
    answers: list[Any] = []

    def refresh_all() -> None:
        answers.extend(login.refresh() for login in logins)

    each_at_once([refresh_all, lambda: sessions.end_for(User.objects.all())])
    for login, answer in zip(logins, answers, strict=True):
        assert login.refresh().status_code == 401
        if answer.status_code == 200:
            assert login.refresh(answer.json()["refresh"]).status_code == 401
            assert login.me(answer.json()["access"]).status_code == 401
    assert not TokenSession.objects.exists()


def test_several_at_once_end_each_session_once(people: list[Any]) -> None:
    for user in people:
        RefreshToken.for_user(user)
    ended = at_once(3, lambda: sessions.end_for(User.objects.all()))
    assert sum(one.sessions for one in ended) == 5
    assert not TokenSession.objects.exists()
