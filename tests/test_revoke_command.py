import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import OperationalError
from django.utils.dateparse import parse_datetime
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken

from tokens import clock, mass_logout, sessions
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import new_sid
from tokens.management import revoking, shell
from tokens.management.commands import revoke_tokens
from tokens.models import BlacklistEntry, TokenSession

from . import calling
from .conftest import Login, alive, dead
from .processes import command, environment, manage, manage_in_turn

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = ["target", "subject", "dry_run", "sessions", "users", "refused_until", "exclude_staff"]
LATER = "2100-01-31T12:00:00Z"

call = partial(calling.call, "revoke_tokens")


def facts(**options: Any) -> Any:
    code, out, err = call(format="json", **options)
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert list(answer) == KEYS
    return answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A terminal on which somebody answers."""

    def answer(said: Any) -> None:
        def read() -> Any:
            if isinstance(said, BaseException):
                raise said
            return said

        monkeypatch.setattr(sys, "stdin", calling.Terminal())
        monkeypatch.setattr("builtins.input", read)

    return answer


# Of a user


@pytest.mark.parametrize("by_key", [False, True], ids=["name", "key"])
def test_a_user_is_logged_out_everywhere(
    user: AbstractUser, make_user: Callable[..., AbstractUser], by_key: bool
) -> None:
    laptop, phone, grace = Login(user), Login(user), Login(make_user("grace"))
    plain = str(PlainAccessToken.for_user(user))
    code, out, err = call(user=f"id:{user.pk}" if by_key else "ada")
    assert (code, err) == (0, "")
    assert out == "Ended 2 sessions; the tokens issued to ada until now are refused.\n"
    assert dead(laptop)
    assert dead(phone)
    assert phone.me(plain).status_code == 401
    assert alive(grace)
    assert set(BlacklistEntry.objects.values_list("reason", flat=True)) == {"command"}


def test_it_may_be_done_again(user: AbstractUser) -> None:
    Login(user)
    assert facts(user="ada")["sessions"] == 1
    assert facts(user="ada") == {
        "target": "user",
        "subject": str(user.pk),
        "dry_run": False,
        "sessions": 0,
        "users": 1,
        "refused_until": None,
        "exclude_staff": False,
    }


# Of a session


@pytest.mark.parametrize("spell", [str, str.upper, lambda sid: sid.replace("-", "")])
def test_a_session_is_ended(user: AbstractUser, spell: Any) -> None:
    laptop, phone = Login(user), Login(user)
    sid = AccessToken(phone.access)["sid"]
    answer = facts(session=spell(sid))
    assert (answer["subject"], answer["sessions"], answer["users"]) == (sid, 1, 1)
    assert dead(phone)
    assert alive(laptop)
    entry = BlacklistEntry.objects.get()
    assert (entry.reason, entry.user) == ("command", user)
    assert parse_datetime(answer["refused_until"]) == entry.expires_at


def test_access_tokens_of_a_session_that_is_not_live_are_refused(user: AbstractUser) -> None:
    login = Login(user)
    sid = AccessToken(login.access)["sid"]
    TokenSession.objects.all().delete()
    assert login.me().status_code == 200
    code, out, err = call(session=sid)
    assert (code, err) == (0, "")
    assert out.startswith("No live session has this id. Its access tokens are refused until 2")
    assert login.me().status_code == 401
    entry = BlacklistEntry.objects.get()
    assert entry.expires_at >= AccessToken(login.access, verify=False).claims.expires_at
    assert call(session=sid)[0] == 0
    assert BlacklistEntry.objects.count() == 1


# Of one token


@pytest.mark.parametrize("epoch", [False, True], ids=["ISO 8601", "seconds"])
def test_one_token_is_refused_by_its_jti(user: AbstractUser, epoch: bool) -> None:
    login = Login(user)
    claims = AccessToken(login.access).claims
    end = claims.expires_at.replace(tzinfo=UTC)
    expires = str(int(end.timestamp())) if epoch else end.isoformat()
    code, out, err = call(jti=claims.jti, expires=expires)
    assert (code, err) == (0, "")
    assert out == f"The token with this jti is refused until {end:%Y-%m-%d %H:%M:%S} UTC.\n"
    assert login.me().status_code == 401
    assert login.refresh().status_code == 200
    entry = BlacklistEntry.objects.get()
    assert (entry.scope, entry.expires_at) == ("token", claims.expires_at)


def test_a_jti_that_was_revoked_for_longer_stays_so() -> None:
    first = facts(jti="a jti", expires=LATER)["refused_until"]
    soon = (clock.now() + timedelta(hours=1)).replace(tzinfo=UTC).isoformat()
    assert facts(jti="a jti", expires=soon)["refused_until"] == first == LATER


@pytest.mark.parametrize("jti", ["é\n\0", "x" * 5000, "\udce9", "-"])
def test_a_jti_may_be_any_text(jti: Any) -> None:
    assert call(jti=jti, expires=LATER)[0] == 0
    assert BlacklistEntry.objects.count() == 1


# Of everybody


def test_everybody_is_logged_out(
    user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    logins = [Login(user), Login(user), Login(make_user("grace"))]
    code, out, err = call(all_users=True, interactive=False)
    assert (code, err) == (0, "")
    assert out == "Ended 3 sessions; the tokens issued to 2 users until now are refused.\n"
    assert all(dead(login) for login in logins)
    assert alive(Login(user))


@pytest.mark.any_database
def test_the_progress_bar_is_for_terminals(
    user: AbstractUser, capsys: pytest.CaptureFixture[str]
) -> None:
    Login(user)
    call(all_users=True, interactive=False, stderr=calling.Terminal())
    assert "Revoking" in capsys.readouterr().err
    for options in ({"no_progress": True}, {"format": "json"}, {"verbosity": 0}):
        call(all_users=True, interactive=False, stderr=calling.Terminal(), **options)
        assert capsys.readouterr().err == ""


@pytest.mark.any_database
def test_an_interruption_is_answered_by_one_line(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(**options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mass_logout, "end_everybody", interrupt)
    code, out, err = call(all_users=True, interactive=False)
    assert (code, out) == (1, "")
    assert err == "Interrupted. What was revoked stays revoked; run the command again for the rest."


# Trying it out


@pytest.mark.parametrize(
    "options",
    [
        {"user": "ada"},
        {"session": "SID"},
        {"session": new_sid()},
        {"jti": "x", "expires": LATER},
        {"all_users": True},
    ],
    ids=lambda options: "-".join(options),
)
def test_a_dry_run_changes_nothing_and_counts(
    user: AbstractUser, options: Any, statements: Callable[[], Any]
) -> None:
    login = Login(user)
    sid = AccessToken(login.access)["sid"]
    options = {name: sid if value == "SID" else value for name, value in options.items()}
    with statements() as ran:
        code, out, err = call(dry_run=True, **options)
    assert (code, err) == (0, "")
    assert "ould" in out
    assert not [sql for sql in ran if not sql.startswith("SELECT")]
    foretold = facts(dry_run=True, **options)
    assert foretold["dry_run"] is True
    done = facts(interactive=False, **options)
    assert [done[key] for key in KEYS[3:5]] == [foretold[key] for key in KEYS[3:5]]


# Asking


@pytest.mark.any_database
@pytest.mark.parametrize("said", ["yes", " Y "])
def test_it_asks_before_it_logs_everybody_out(user: AbstractUser, asked: Any, said: str) -> None:
    login = Login(user)
    asked(said)
    code, out, err = call(all_users=True)
    assert code == 0
    assert err.startswith("This ends 1 session and refuses all tokens of 1 user. Type yes")
    assert out.startswith("Ended 1 session;")
    assert dead(login)


@pytest.mark.any_database
@pytest.mark.parametrize("said", ["", "no", "yess", EOFError(), KeyboardInterrupt()], ids=repr)
def test_anything_but_yes_changes_nothing(user: AbstractUser, asked: Any, said: Any) -> None:
    login = Login(user)
    asked(said)
    code, out, err = call(all_users=True)
    assert (code, out) == (1, "")
    assert err.endswith("Nothing was changed.")
    assert alive(login)
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("options", [{"all_users": True}, {"user": "ada"}], ids=["all", "many"])
def test_where_nobody_can_be_asked_it_refuses(
    user: AbstractUser, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "MANY", 1)
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    logins = [Login(user), Login(user)]
    code, out, err = call(**options)
    assert (code, out) == (2, "")
    assert err.endswith("Nobody can be asked here, so nothing was changed: add --no-input.")
    assert "2 sessions" in err
    assert alive(logins[0])
    assert call(interactive=False, **options)[0] == 0
    assert dead(logins[1])


@pytest.mark.any_database
def test_it_asks_only_about_many(user: AbstractUser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoking, "MANY", 2)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    Login(user), Login(user)
    assert call(user="ada")[0] == 0


# Mistakes


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {},
            "Give exactly one of --user, --session, --jti, --group, --users-from and --all-users.",
        ),
        ({"user": "ada", "all_users": True}, "Give exactly one of"),
        ({"user": "ada", "session": "019aa5c1-7b2e-7c4d-8f10-2233445566ff"}, "Give exactly one of"),
        ({"user": "nobody"}, "There is no user 'nobody'."),
        ({"user": ""}, "There is no user ''."),
        ({"user": "a\0"}, "There is no user 'a\\x00'."),
        ({"user": "id:x"}, "There is no user 'id:x'."),
        ({"user": "id:" + "9" * 40}, "There is no user 'id:9999"),
        ({"user": "id:-1"}, "There is no user 'id:-1'."),
        ({"session": "x"}, "--session must be the id of a session of this app, not 'x'."),
        (
            {"session": "3f2b8c1e-9a4d-4e6f-8b7c-1d2e3f4a5b6c"},
            "--session must be the id of a session",
        ),
        ({"jti": "x"}, "Use --jti and --expires together."),
        ({"user": "ada", "expires": LATER}, "Use --jti and --expires together."),
        ({"jti": "", "expires": LATER}, "--jti is empty."),
        ({"jti": "x", "expires": "soon"}, "--expires must be seconds since 1970, or a time"),
        ({"jti": "x", "expires": "4102444800000"}, "--expires must be seconds since 1970"),
        ({"jti": "x", "expires": "9" * 5000}, "--expires must be seconds since 1970"),
        ({"jti": "x", "expires": ""}, "--expires must be seconds since 1970"),
        ({"jti": "x", "expires": "2100-01-31"}, "--expires needs a time zone"),
        ({"jti": "x", "expires": "0001-01-01T00:00:00+23:59"}, "--expires must be seconds"),
        ({"jti": "x", "expires": "1700000000"}, "--expires is in the past (2023-11-14"),
        ({"user": "ada", "database": "other"}, "There is no database 'other' in DATABASES"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_mistake_is_answered_by_one_line_and_changes_nothing(
    user: AbstractUser, options: Any, says: str
) -> None:
    login = Login(user)
    code, out, err = call(**options)
    assert (code, out) == (2, "")
    assert err.startswith(says)
    assert "\n" not in err
    assert alive(login)
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("options", [{"user": "ada"}, {"all_users": True, "interactive": False}])
def test_a_database_that_fails_is_answered_by_one_line(
    user: AbstractUser, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OperationalError("disk full\nDETAIL: much more")

    monkeypatch.setattr(sessions, "end_all", fail)
    monkeypatch.setattr(mass_logout, "end_everybody", fail)
    code, out, err = call(**options)
    assert (code, out) == (1, "")
    assert err == (
        "The database 'default' can't be used (OperationalError: disk full)."
        " Is it running, writable and migrated?"
    )


# The shell's side of it


@pytest.mark.any_database
def test_it_is_silent_at_verbosity_0(user: AbstractUser) -> None:
    Login(user)
    assert call(user="ada", verbosity=0) == (0, "", "")
    assert not TokenSession.objects.exists()


@pytest.mark.any_database
def test_what_it_did_is_logged(user: AbstractUser, caplog: pytest.LogCaptureFixture) -> None:
    claims = RefreshToken.for_user(user).claims
    with caplog.at_level(logging.INFO, "tokens"):
        call(session=claims.sid)
        call(user="ada", dry_run=True)
    (record,) = [one for one in caplog.records if vars(one)["event"] == "revoked_by_command"]
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        f"revoke_tokens ended 1 session(s) of 1 user(s): session {claims.sid!r}"
    )


@pytest.mark.any_database
def test_every_option_has_a_help_text_or_speaks_for_itself() -> None:
    parser = revoke_tokens.Command().create_parser("manage.py", "revoke_tokens")
    silent = [action.dest for action in parser._actions if not action.help]
    assert silent == ["format"]
    assert shell.USAGE == 2


@pytest.mark.any_database
@pytest.mark.slow
def test_the_command_line_exits_with_2_and_one_line() -> None:
    wrong = {
        (): r"CommandError: Give exactly one of [^\n]+\n",
        ("--user", "nobody"): r"CommandError: There is no user 'nobody'\.\n",
        ("--jti", "x", "--expires", "x"): r"CommandError: --expires must be [^\n]+\n",
        ("--user", "nobody", "--database", "x"): r"CommandError: There is no database [^\n]+\n",
    }
    answers = manage_in_turn(*(("revoke_tokens", *arguments) for arguments in wrong))
    for says, (code, out, err) in zip(wrong.values(), answers, strict=True):
        assert (code, out) == (2, "")
        assert re.fullmatch(says, err), err


@pytest.mark.thorough
@pytest.mark.any_database
@pytest.mark.slow
def test_the_process_exits_with_2_and_one_line() -> None:
    done = manage("revoke_tokens")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"CommandError: Give exactly one of [^\n]+\n", done.stderr)


@pytest.mark.any_database
@pytest.mark.slow
def test_on_a_terminal_it_asks_and_goes_on() -> None:
    here, there = pty.openpty()
    os.write(here, b"yes\n")
    done = subprocess.run(
        command("revoke_tokens", "--all-users"),
        env=environment(),
        stdin=there,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(here)
    os.close(there)
    assert (done.returncode, done.stdout) == (
        0,
        "Ended 0 sessions; the tokens issued to 0 users until now are refused.\n",
    )
    assert done.stderr == (
        "This ends 0 sessions and refuses all tokens of 0 users. Type yes to continue: "
    )
