"""What was revoked, for auditors."""

import csv
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command

from tokens import clock, sessions
from tokens.jwt import AccessToken, RefreshToken
from tokens.management import revocations
from tokens.models import BlacklistEntry
from tokens.origin import Client, acting, used_by

from .conftest import DAY, SECOND

pytestmark = pytest.mark.django_db(transaction=True)


def export(**options: Any) -> Any:
    out = StringIO()
    call_command("export_revocations", stdout=out, **options)
    text = out.getvalue()
    if options.get("format") == "json":
        return json.loads(text)
    return list(csv.DictReader(StringIO(text)))


@pytest.fixture
def revoked(user: AbstractUser) -> RefreshToken:
    """A session of a phone that support ended."""
    with used_by(Client("203.0.113.7", "=cmd|' /C calc'!A0", device_name="Ada's phone")):
        token = RefreshToken.for_user(user)
    with acting("os:root@web-1", note='ticket 17, "urgent"\nplease'):
        sessions.end_one(user, str(token["sid"]), reason="command")
    return token


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_row_says_who_revoked_what_for_whom_when_why_and_from_where(
    user: AbstractUser, revoked: RefreshToken, form: str
) -> None:
    [row] = export(format=form)
    entry = BlacklistEntry.objects.get()
    assert list(row) == list(revocations.COLUMNS)
    agent = "=cmd|' /C calc'!A0"
    expected = {
        "scope": "session",
        "subject": revoked["sid"],
        "key": revoked["sid"],
        "reason": "command",
        "by": "os:root@web-1",
        "note": 'ticket 17, "urgent"\nplease',
        "device_name": "Ada's phone",
        "user_agent": agent if form == "json" else f"'{agent}",
        "ip_address": "203.0.113.7",
        "by_user_agent": "",
        "by_ip_address": None if form == "json" else "",
        "issued_before": None if form == "json" else "",
    }
    assert {name: row[name] for name in expected} == expected
    assert str(row["user_id"]) == str(user.pk)
    revoked_at = datetime.fromisoformat(row["revoked_at"])
    assert abs(revoked_at - clock.aware(entry.created_at)) < timedelta(milliseconds=1)
    assert str(revoked) not in str(row)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_nothing_is_an_empty_file_of_its_kind(db: None, form: str) -> None:
    assert export(format=form) == []


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
def test_each_entry_is_there_once_and_in_order(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, form: str, number: int
) -> None:
    """Also if several were made at the same moment, and a batch ends among them."""
    monkeypatch.setattr(revocations, "BATCH", 3)
    moment = clock.now().replace(microsecond=0)
    for place in range(number):
        entry, _ = AccessToken.for_user(user).blacklist()
        made = moment - DAY * (place // 4)
        BlacklistEntry.objects.filter(key=entry.key).update(created_at=made)
    rows = export(format=form)
    found = BlacklistEntry.objects.order_by("created_at", "key").values_list("subject", flat=True)
    assert [row["subject"] for row in rows] == list(found)
    assert len(rows) == number


def test_a_batch_is_one_statement(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, statements: Any
) -> None:
    monkeypatch.setattr(revocations, "BATCH", 2)
    for _ in range(5):
        AccessToken.for_user(user).blacklist()
    with statements() as ran:
        assert len(export()) == 5
    assert len(ran) == 3


def test_it_may_be_about_a_time_or_a_user(
    user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    now = clock.aware(clock.now()).replace(microsecond=0)
    for owner, age in ((user, 2 * DAY), (user, DAY), (make_user("grace"), DAY)):
        entry, _ = AccessToken.for_user(owner).blacklist()
        BlacklistEntry.objects.filter(key=entry.key).update(created_at=now - age)
    assert len(export()) == 3
    assert len(export(since=(now - DAY).isoformat())) == 2
    assert len(export(until=(now - DAY).isoformat())) == 1
    assert len(export(since=str((now - 3 * DAY).date()), until=now + SECOND)) == 3
    assert len(export(user="ada")) == 2
    assert len(export(user="grace", since=(now - DAY).isoformat())) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"since": "yesterday"}, "--since must be a date like"),
        ({"until": ""}, "--until must be a date like"),
        ({"since": "2030-01-31T12:00:00"}, "--since needs a time zone"),
        ({"user": "nobody"}, "There is no user 'nobody'"),
        ({"database": "nowhere"}, "There is no database 'nowhere'"),
    ],
)
def test_a_mistake_is_one_line(db: None, options: Any, said: str) -> None:
    with pytest.raises(CommandError, match=said) as raised:
        export(**options)
    assert raised.value.returncode == 2
    assert "\n" not in str(raised.value)


class Full(StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class Gone(StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_full_disk_is_a_failure_and_a_reader_who_has_enough_is_none(
    revoked: RefreshToken,
) -> None:
    with pytest.raises(CommandError, match="could not be written") as raised:
        call_command("export_revocations", stdout=Full())
    assert raised.value.returncode == 1
    err = StringIO()
    call_command("export_revocations", stdout=Gone(), stderr=err)
    assert "Broken pipe" in err.getvalue()
