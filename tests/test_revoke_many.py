"""``revoke_tokens`` for groups, without staff, and for the users whom a file names."""

import codecs
import io
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Group
from django.core.exceptions import FieldDoesNotExist
from django.db import OperationalError, connection
from rest_framework.test import APIClient

from tokens import databases, mass_logout, sessions
from tokens.jwt import RefreshToken
from tokens.management import listed
from tokens.models import BlacklistEntry, TokenSession
from tokens.sessions import groups

from . import calling
from .conftest import Login, alive, dead
from .processes import manage_in_turn

User: Any = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)

call = partial(calling.call, "revoke_tokens")
revoke = partial(call, interactive=False)

DONE = "Ended {} sessions; the tokens issued to {} users until now are refused.\n"


@pytest.fixture
def people(make_user: Callable[..., AbstractUser]) -> dict[str, Login]:
    """Ada is staff and a customer, Grace a customer and a partner, Linus a partner."""
    ada, grace, linus, root = (
        make_user("ada", is_staff=True),
        make_user("grace"),
        make_user("linus"),
        make_user("root", is_staff=True),
    )
    Group.objects.create(name="customers").user_set.set([ada, grace])
    Group.objects.create(name="partners").user_set.set([grace, linus])
    return {user.username: logged_in(user) for user in (ada, grace, linus, root)}


def logged_in(user: AbstractUser) -> Login:
    """Return what a login over HTTP does, in a fraction of the time."""
    login: Any = Login.__new__(Login)
    login.api, token = APIClient(), RefreshToken.for_user(user)
    login.access, login.refresh_token = str(token.access_token), str(token)
    return login


def nothing_changed() -> bool:
    return TokenSession.objects.count() == 4 and not BlacklistEntry.objects.exists()


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(content: str | bytes, encoding: str = "utf-8") -> str:
        path = tmp_path / "users.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return str(path)

    return write


def ended(people: dict[str, Login]) -> set[str]:
    """Return who is logged out everywhere."""
    out = {name for name, login in people.items() if dead(login)}
    assert all(alive(login) for name, login in people.items() if name not in out)
    return out


# Who


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"group": ["customers"]}, {"ada", "grace"}),
        ({"group": "customers"}, {"ada", "grace"}),
        ({"group": ["customers", "partners"]}, {"ada", "grace", "linus"}),
        ({"group": ["partners", "partners"]}, {"grace", "linus"}),
        ({"group": ["customers", "partners"], "exclude_staff": True}, {"grace", "linus"}),
        ({"all_users": True, "exclude_staff": True}, {"grace", "linus"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_groups_are_logged_out_with_or_without_staff(
    options: Any, expected: set[str], people: dict[str, Login]
) -> None:
    number = len(expected)
    assert revoke(**options) == (0, DONE.format(number, number), "")
    assert set(BlacklistEntry.objects.values_list("reason", flat=True)) == {"command"}
    assert ended(people) == expected


def test_a_group_may_be_empty(people: dict[str, Login]) -> None:
    Group.objects.create(name="empty")
    assert revoke(group=["empty"]) == (0, DONE.format(0, 0), "")
    assert ended(people) == set()


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        ({"group": ["partners", "customers"]}, "partners, customers"),
        ({"users_from": "FILE"}, "FILE"),
        ({"all_users": True, "exclude_staff": True}, None),
    ],
    ids=["group", "users_from", "all_users"],
)
def test_a_dry_run_foretells_and_json_tells(
    options: Any,
    subject: str | None,
    people: dict[str, Login],
    file: Callable[..., str],
    statements: Callable[[], Any],
) -> None:
    path = file("ada\ngrace\nlinus\n")
    options = {name: path if value == "FILE" else value for name, value in options.items()}
    with statements() as ran:
        code, out, err = call(dry_run=True, format="json", **options)
    assert (code, err) == (0, "")
    assert not [sql for sql in ran if not sql.startswith("SELECT")]
    foretold = json.loads(out)
    done = json.loads(revoke(format="json", **options)[1])
    assert foretold | {"dry_run": False} == done
    assert done["target"] == next(iter(options))
    assert done["subject"] == (path if subject == "FILE" else subject)
    assert done["exclude_staff"] is options.get("exclude_staff", False)
    assert done["sessions"] == done["users"] == (2 if "all_users" in options else 3)


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("options", "question"),
    [
        (
            {"group": ["customers"]},
            "This ends 2 sessions and refuses all tokens of 2 users in the group customers.",
        ),
        (
            {"group": ["customers", "partners"], "exclude_staff": True},
            "This ends 2 sessions and refuses all tokens of 2 users in the groups customers,"
            " partners who are not staff.",
        ),
        (
            {"all_users": True, "exclude_staff": True},
            "This ends 2 sessions and refuses all tokens of 2 users who are not staff.",
        ),
        (
            {"users_from": "FILE"},
            "This ends 1 session and refuses all tokens of 1 user whom FILE names.",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_it_asks_before_it_logs_many_out(
    options: Any,
    question: str,
    people: dict[str, Login],
    file: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = file("ada")
    options = {name: path if value == "FILE" else value for name, value in options.items()}
    code, out, err = call(**options)
    assert (code, out) == (2, "")
    assert err == (
        f"{question.replace('FILE', path)}"
        " Nobody can be asked here, so nothing was changed: add --no-input."
    )
    monkeypatch.setattr(sys, "stdin", calling.Terminal())
    monkeypatch.setattr("builtins.input", lambda: "no")
    assert call(**options)[0] == 1
    assert ended(people) == set()
    monkeypatch.setattr("builtins.input", lambda: "yes")
    assert call(**options)[0] == 0


@pytest.mark.any_database
@pytest.mark.parametrize("options", [{"group": ["customers"]}, {"users_from": "FILE"}])
def test_numbers_that_take_too_long_stop_nobody(
    options: Any,
    people: dict[str, Login],
    file: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(*_: Any, **__: Any) -> None:
        raise databases.OutOfTime("no time is left")

    monkeypatch.setattr(mass_logout, "count", late)
    path = file("ada\ngrace")
    options = {name: path if value == "FILE" else value for name, value in options.items()}
    assert "This ends all sessions and refuses all tokens of all users " in call(**options)[2]
    code, out, err = call(dry_run=True, **options)
    assert (code, out) == (1, "")
    assert "took too long" in err
    assert revoke(**options)[0] == 0
    assert ended(people) == {"ada", "grace"}


def test_a_long_list_may_take_longer_to_count(
    people: dict[str, Login], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mass_logout, "USERS_IN_BATCH", 1)
    keys = list(User.objects.values_list("pk", flat=True))
    assert mass_logout.count("default", people=keys, patient=True) == sessions.Ended(4, 4)
    assert mass_logout.count("default", people=keys) == sessions.Ended(4, 4)
    with pytest.raises(databases.OutOfTime):
        mass_logout.count("default", people=keys, seconds=0)


@pytest.mark.any_database
def test_the_progress_bar_and_an_interruption_are_as_for_everybody(
    people: dict[str, Login], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert revoke(group="partners", stderr=calling.Terminal())[0] == 0
    assert "Revoking" in capsys.readouterr().err

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(groups, "_end_batch", interrupt)
    code, out, err = revoke(group="customers")
    assert (code, out) == (1, "")
    assert err == "Interrupted. What was revoked stays revoked; run the command again for the rest."


@pytest.mark.any_database
def test_a_database_that_fails_is_answered_by_one_line(
    people: dict[str, Login], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("disk full\nDETAIL: much more")

    monkeypatch.setattr(sessions, "end_for", fail)
    code, out, err = revoke(group="customers")
    assert (code, out) == (1, "")
    assert err.startswith("The database 'default' can't be used (OperationalError: disk full).")


# Which file


CONTENTS = {
    "LF": b"ada\ngrace\n",
    "no end": b"ada\ngrace",
    "CRLF": b"ada\r\ngrace\r\n",
    "CR": b"ada\rgrace\r",
    "blank lines": b"\n\n  \nada\n\t\ngrace\n\n",
    "spaces around": b"  ada \n\tgrace\t\n",
    "twice": b"ada\ngrace\nada\n",
    "BOM": codecs.BOM_UTF8 + b"ada\ngrace\n",
    "UTF-16": "ada\r\ngrace\r\n".encode("utf-16"),
    "UTF-16-BE": codecs.BOM_UTF16_BE + "ada\ngrace\n".encode("utf-16-be"),
    "UTF-32": "ada\ngrace\n".encode("utf-32"),
}


@pytest.mark.parametrize("way", ["a file", "standard input"])
def test_the_users_in_a_file_are_logged_out(
    way: str, people: dict[str, Login], file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(CONTENTS["LF"])
    if way == "standard input":
        stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(path)), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stdin)
        assert revoke(users_from="-") == (0, DONE.format(2, 2), "")
        assert not stdin.closed
        stdin.close()
    else:
        assert revoke(users_from=path) == (0, DONE.format(2, 2), "")
    assert ended(people) == {"ada", "grace"}


@pytest.mark.any_database
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_file_may_be_written_in_many_ways(
    content: bytes,
    make_user: Callable[..., AbstractUser],
    file: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = [make_user("ada").pk, make_user("grace").pk]
    path = file(content)
    assert sorted(listed.keys_listed_in(path, using="default")) == expected
    with open(path, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert sorted(listed.keys_listed_in("-", using="default")) == expected


@pytest.mark.any_database
def test_standard_input_may_be_any_text(
    people: dict[str, Login], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("linus\n"))
    assert revoke(users_from="-")[0] == 0
    assert ended(people) == {"linus"}
    for gone in (None, closed()):
        monkeypatch.setattr(sys, "stdin", gone)
        assert revoke(users_from="-") == (
            2,
            "",
            "--users-from: standard input can't be read: it is closed.",
        )


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def test_a_line_says_what_the_option_user_takes(
    people: dict[str, Login], file: Callable[..., str], make_user: Callable[..., AbstractUser]
) -> None:
    zolw = Login(make_user("Żółw"))
    pk = User.objects.get(username="linus").pk
    assert revoke(users_from=file(f"Żółw\nid:{pk}\n")) == (0, DONE.format(2, 2), "")
    assert dead(zolw)
    assert ended(people) == {"linus"}


@pytest.mark.skipif(connection.vendor != "mysql", reason="only its collation overlooks case")
def test_a_name_may_be_spelled_as_the_database_allows(
    people: dict[str, Login], file: Callable[..., str]
) -> None:
    assert revoke(users_from=file("ADA\nada\nGrace\n"))[1] == DONE.format(2, 2)
    assert ended(people) == {"ada", "grace"}


def test_names_are_looked_up_many_at_a_time(
    file: Callable[..., str], statements: Callable[[], Any], db: None
) -> None:
    User.objects.bulk_create(User(username=f"user{number}") for number in range(1100))
    path = file("\n".join(f"user{number}" for number in range(1100)))
    with statements() as ran:
        assert len(listed.keys_listed_in(path, using="default")) == 1100
    assert len(ran) == 3


UNKNOWN = [f"nobody{number}" for number in range(7)]


WRONG_FILES: list[tuple[str | bytes, str]] = [
    ("ada\nnobody\n", "No users are called 'nobody', as FILE says. Nothing was changed."),
    ("ada\nid:0\nid:x\n", "No users are called 'id:0', 'id:x', as FILE says."),
    ("id:" + "9" * 40, "No users are called 'id:9999"),
    ("a\0da\n", "No users are called 'a\\x00da', as FILE says."),
    ("\n".join(["ada", *UNKNOWN]), "'nobody3', 'nobody4' and more, as FILE says."),
    ("\n".join(["ada", *UNKNOWN[:5]]), "'nobody3', 'nobody4', as FILE says."),
    ("", "--users-from: FILE names nobody."),
    ("\n \r\n", "--users-from: FILE names nobody."),
    (b"ada\nJos\xe9\n", "--users-from: FILE is no text in UTF-8 ('utf-8' codec can't"),
    (b"\xff\xfea", "--users-from: FILE is no text in UTF-8 ('utf-16"),
    ("x" * 6000, "--users-from: FILE has a line of more than 5000 characters, so it is no"),
]


def test_a_file_with_a_mistake_revokes_nothing(
    people: dict[str, Login], file: Callable[..., str]
) -> None:
    for content, says in WRONG_FILES:
        path = file(content)
        code, out, err = revoke(users_from=path)
        assert (code, out) == (2, ""), says
        assert says.replace("FILE", path) in err
        assert "\n" not in err, says
        assert nothing_changed(), says


@pytest.mark.any_database
def test_an_unknown_name_at_the_end_of_many_revokes_nothing(
    people: dict[str, Login], file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listed, "NAMES_AT_ONCE", 1)
    code, _, err = revoke(users_from=file("ada\ngrace\nnobody\n"))
    assert code == 2
    assert err.startswith("No users are called 'nobody'")
    assert ended(people) == set()


@pytest.mark.any_database
def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "x", "No such file or directory"), (tmp_path, "Is a directory")):
        assert revoke(users_from=str(path)) == (
            2,
            "",
            f"--users-from: {path} can't be read: {why}.",
        )


# Mistakes


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"group": ["custmers"]}, "There is no group 'custmers'. Did you mean 'customers'?"),
    ({"group": ["customers", "xyz"]}, "There is no group 'xyz'."),
    ({"group": [""]}, "There is no group ''."),
    ({"group": ["a\0"]}, "There is no group 'a\\x00'."),
    ({"group": ["customers"], "all_users": True}, "Give exactly one of"),
    ({"group": ["customers"], "users_from": "x"}, "Give exactly one of"),
    ({"group": []}, "Give exactly one of"),
    (
        {"user": "ada", "exclude_staff": True},
        "Use --exclude-staff with --all-users or --group.",
    ),
    ({"users_from": "x", "exclude_staff": True}, "Use --exclude-staff with --all-users or"),
]


def test_a_mistake_is_answered_by_one_line_and_changes_nothing(people: dict[str, Login]) -> None:
    for options, says in MISTAKES:
        code, out, err = revoke(**options)
        assert (code, out) == (2, ""), says
        assert err.startswith(says)
        assert "\n" not in err, says
        assert nothing_changed(), says


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("options", "lacks", "says"),
    [
        ({"group": ["x"]}, "groups", "--group: the user model auth.User has no field 'groups'."),
        (
            {"all_users": True, "exclude_staff": True},
            "is_staff",
            "--exclude-staff: the user model auth.User has no field 'is_staff'.",
        ),
    ],
    ids=["groups", "is_staff"],
)
def test_a_user_model_may_lack_what_is_asked_for(
    options: Any, lacks: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = User._meta.get_field

    def get_field(name: str) -> Any:
        if name == lacks:
            raise FieldDoesNotExist
        return real(name)

    monkeypatch.setattr(User._meta, "get_field", get_field)
    assert revoke(**options) == (2, "", says)


@pytest.mark.any_database
def test_groups_may_have_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    real = User._meta.get_field
    monkeypatch.setattr(
        User._meta, "get_field", lambda name: real("last_login" if name == "groups" else name)
    )
    assert revoke(group="x") == (2, "", "--group: the groups of auth.User have no names.")


def test_a_name_that_several_users_have_is_told(
    people: dict[str, Login], file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django allows such a model if a backend of the project's knows what to do."""
    monkeypatch.setattr(User, "USERNAME_FIELD", "last_name")
    User.objects.filter(username__in=["ada", "grace"]).update(last_name="Smith")
    several = (2, "", "There are several users 'Smith': name one as id:KEY.")
    assert revoke(user="Smith") == revoke(users_from=file("Smith\n")) == several


# The shell's side of it


@pytest.mark.any_database
@pytest.mark.slow
def test_the_command_line_takes_groups_and_files(tmp_path: Path) -> None:
    wrong = {
        ("--group", "x"): "There is no group 'x'.",
        ("--group=x", "--group", "y"): "There is no group 'x'.",
        ("--users-from", str(tmp_path)): f"--users-from: {tmp_path} can't be read: Is a directory.",
        ("--exclude-staff",): "Give exactly one of",
        ("--exclude-staff", "--user=x"): "Use --exclude-staff with --all-users or --group.",
    }
    answers = manage_in_turn(*(("revoke_tokens", *arguments) for arguments in wrong))
    for says, (code, out, err) in zip(wrong.values(), answers, strict=True):
        assert (code, out) == (2, "")
        assert err.startswith(f"CommandError: {says}")


def test_what_it_did_is_logged_and_users_of_groups_keep_nothing(
    people: dict[str, Login], caplog: pytest.LogCaptureFixture
) -> None:
    RefreshToken.for_user(User.objects.get(username="grace"))
    with caplog.at_level("INFO", "tokens"):
        revoke(group=["partners"])
    (record,) = [one for one in caplog.records if vars(one)["event"] == "revoked_by_command"]
    assert record.getMessage() == (
        "revoke_tokens ended 3 session(s) of 2 user(s): group 'partners'"
    )
    assert set(TokenSession.objects.values_list("user__username", flat=True)) == {"ada", "root"}
