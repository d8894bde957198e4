"""Data like that of a live system: people, devices, revocations of every kind, runs."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from tokens import blacklist, sessions
from tokens.jwt import RefreshToken
from tokens.models import BlacklistEntry, CleanupRun, TokenSession
from tokens.origin import Client, used_by

from .chromium import PASSWORD

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
DEVICES = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/156.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/156.0.0.0 Mobile Safari/537.36",
    "okhttp/4.12.0",
    "curl/8.5.0",
    "",
]
ADDRESSES = ["203.0.113.7", "2001:db8:85a3:1234:5678:8a2e:370:7334", "198.51.100.23", None]
NAMES = ["ada.lovelace", "anita.borg", "grace.hopper", "margaret.hamilton", "mary.jackson"]


@dataclass
class World:
    """Who is there: ``grace`` is logged in on two devices, ``ada`` has logged out."""

    boss: User
    grace: User
    ada: User
    phone: RefreshToken
    laptop: RefreshToken
    revoked: RefreshToken
    entry: BlacklistEntry
    run: CleanupRun


def log_in(user: User, number: int = 0) -> RefreshToken:
    agent, address = DEVICES[number % len(DEVICES)], ADDRESSES[number % len(ADDRESSES)]
    with used_by(Client(ip_address=address, user_agent=agent)):
        return RefreshToken.for_user(user)


def make_user(name: str, **fields: Any) -> User:
    email = name if "@" in name else f"{name}@example.com"
    return User.objects.create_user(name, email, PASSWORD, **fields)


def people() -> World:
    boss = make_user("boss", is_staff=True, is_superuser=True)
    grace, ada = make_user("grace.hopper@example.com"), make_user("ada.lovelace@example.com")
    phone, laptop, revoked = log_in(grace, 2), log_in(grace, 1), log_in(ada)
    revoked.blacklist()
    crowd()
    entry = BlacklistEntry.objects.get(key=revoked["sid"])
    return World(boss, grace, ada, phone, laptop, revoked, entry, runs())


def crowd() -> None:
    chance, now = random.Random(1), timezone.now()  # noqa: S311
    for number in range(25):
        user = make_user(f"{NAMES[number % 5]}{number}@example.com")
        for device in range(1 + number % 4):
            sid = log_in(user, number + device)["sid"]
            ago = timedelta(hours=chance.randint(0, 200))
            row = TokenSession.objects.filter(sid=sid)
            row.update(created_at=now - ago, last_used_at=now - ago / 3)
        if number % 3 == 0:
            sessions.end_all(user)
    reasons = [reason for reason in BlacklistEntry.Reason.values if reason != "reuse"]
    for number, entry in enumerate(BlacklistEntry.objects.filter(scope="session")[3:]):
        reused = number % 7 == 0
        entry.reason = "reuse" if reused else reasons[number % len(reasons)]
        entry.created_at = now - timedelta(minutes=chance.randint(5, 900 if reused else 9_000))
        entry.expires_at = now + timedelta(hours=chance.randint(-30, 300))
        entry.save()
    for number in range(60):  # fewer and fewer the longer ago, and some in the next hours
        hours = 21 - number if number < 20 else -chance.expovariate(0.2)
        end = now + timedelta(hours=hours - 1)
        blacklist.revoke_session(str(log_in(User.objects.all()[3])["sid"]), expires_at=end)


def runs() -> CleanupRun:
    chance, now = random.Random(2), timezone.now()  # noqa: S311
    for number in range(50):
        begun = now - timedelta(hours=20 + 24 * (50 - number))
        fails = number in (13, 14, 49)
        CleanupRun.objects.create(
            started_at=begun,
            heartbeat_at=begun,
            finished_at=begun + timedelta(seconds=chance.randint(1, 90)),
            outcome="failed" if fails else "partial" if number == 30 else "succeeded",
            trigger="crontab",
            host="web-1.eu-central.internal.example.com",
            entries_removed=0 if fails else chance.randint(20_000, 90_000),
            sessions_removed=0 if fails else chance.randint(100, 900),
            error="OperationalError: could not extend file: No space left on device" * fails,
        )
    newest = CleanupRun.objects.order_by("-pk").first()
    assert newest is not None
    return newest
