"""``make demo``: log in, log out and clean up through the real HTTP API.

Uses the SQLite file ``db.sqlite3``. It waits for a slow machine as long as it takes, and exits with
1 if a step does not do what it should.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from io import TextIOWrapper
from typing import Any

import django
import httpx
from django.core.management import CommandError, call_command

_GIVEN = dict(os.environ)

# All that the answers depend on, so that nothing in the environment or in .env changes them. A
# program that holds SQLite's lock is waited for, for an hour.
ENVIRONMENT = {
    "DEBUG": "1",
    "DATABASE_URL": "sqlite:///db.sqlite3?timeout=3600",
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "ALLOWED_HOSTS": "127.0.0.1",
    "THROTTLE_RATE": "",
    "LEEWAY": "0",
    "TOKENS_CHECK_MAX_AGE": "0",
    "TOKENS_CLEANUP_MARGIN": "0",  # there is only one clock here
    "PYTHONUNBUFFERED": "1",
}

# In seconds. Nothing that the first server issues runs out meanwhile, and what the second one
# issues may: an expired token can still log out.
LONG = {"ACCESS_TOKEN_LIFETIME": "3600", "REFRESH_TOKEN_LIFETIME": "86400"}
SHORT = {"ACCESS_TOKEN_LIFETIME": "5", "REFRESH_TOKEN_LIFETIME": "5"}

if __name__ == "__main__":
    os.environ.update(ENVIRONMENT | LONG)
    django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.db import Error  # noqa: E402
from django.db.models import QuerySet  # noqa: E402

from tokens import clock  # noqa: E402
from tokens.models import BlacklistEntry, TokenSession  # noqa: E402

from .demo_server import Failed, command, server  # noqa: E402

SECOND = timedelta(seconds=1)
USERS = ("ada", "grace")

Tokens = dict[str, str]


def title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def manage(*arguments: str) -> None:
    print(f"  $ manage.py {' '.join(arguments)}", flush=True)
    code = subprocess.run(command(*arguments), check=False).returncode
    if code:
        raise Failed(f"manage.py {' '.join(arguments)} exited with {code}.")


# What clients do


def ask(
    api: httpx.Client, method: str, path: str, who: str, *, expect: int, **request: Any
) -> httpx.Response:
    """Send a request, show it with its answer, and return the answer.

    Raises Failed if its status is another one than expected.
    """
    line = f"{method:<4} {path}  ({who})"
    print(f"  {line:<54} ", end="", flush=True)  # so that a reader sees what takes long
    try:
        answer = api.request(method, path, **request)
    except httpx.HTTPError:
        print("no answer")
        raise
    is_json = answer.headers.get("Content-Type") == "application/json"
    body = answer.text if is_json and '"access"' not in answer.text else ""
    print(f"{answer.status_code} {body}".rstrip())
    if answer.status_code != expect:
        raise Failed(f"{line} answered {answer.status_code} instead of {expect}.")
    return answer


def tokens_in(answer: httpx.Response) -> Tokens:
    """Return the tokens of an answer. Raises Failed if it has none."""
    try:
        tokens: Tokens = answer.json()
        return {name: tokens[name] for name in ("access", "refresh")}
    except (ValueError, TypeError, KeyError) as error:
        raise Failed(f"{answer.request.url.path} answered without tokens.") from error


def log_in(api: httpx.Client, name: str, password: str, device: str) -> Tokens:
    credentials = {"username": name, "password": password}
    return tokens_in(ask(api, "POST", "/api/token/", device, expect=200, json=credentials))


def refresh(api: httpx.Client, tokens: Tokens, who: str, *, expect: int) -> httpx.Response:
    token = {"refresh": tokens["refresh"]}
    return ask(api, "POST", "/api/token/refresh/", who, expect=expect, json=token)


def who_am_i(api: httpx.Client, tokens: Tokens, who: str, *, expect: int) -> None:
    ask(api, "GET", "/api/me/", who, expect=expect, headers=bearer(tokens))


def log_out(api: httpx.Client, who: str, **request: Any) -> None:
    ask(api, "POST", "/api/logout/", who, expect=204, **request)


def bearer(tokens: Tokens) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access']}"}


# The steps


def set_up(password: str) -> None:
    title("Set up SQLite and three users")
    call_command("migrate", verbosity=0)
    for name in (*USERS, "admin"):
        User.objects.update_or_create(
            username=name,
            defaults={
                "password": make_password(password),
                "is_active": True,
                "is_staff": name == "admin",
                "is_superuser": name == "admin",
            },
        )
    print(f"  ada, grace and admin (a superuser), password {password}")


def log_in_and_out(api: httpx.Client, password: str) -> None:
    title("Log in: ada on two devices, grace on one")
    laptop = log_in(api, "ada", password, "ada's laptop")
    phone = log_in(api, "ada", password, "ada's phone")
    grace = log_in(api, "grace", password, "grace")
    who_am_i(api, laptop, "ada's laptop", expect=200)

    title("Refresh on the phone: the session's row is updated in place, and no new row is written")
    phone = tokens_in(refresh(api, phone, "ada's phone", expect=200))

    title("Log out on the laptop: both its tokens are refused at once; the phone stays logged in")
    log_out(api, "ada's laptop", json={"refresh": laptop["refresh"]})
    who_am_i(api, laptop, "ada's laptop", expect=401)
    refresh(api, laptop, "ada's laptop", expect=401)
    who_am_i(api, phone, "ada's phone", expect=200)
    log_out(api, "grace, with her access token", headers=bearer(grace))


def log_in_and_out_soon(api: httpx.Client, password: str) -> None:
    title("Log in and out once more, on a server whose tokens live for 5 seconds")
    tokens = log_in(api, "grace", password, "grace")
    log_out(api, "grace", json={"refresh": tokens["refresh"]})


def entries_since(begun: datetime) -> QuerySet[BlacklistEntry]:
    return BlacklistEntry.objects.filter(user__username__in=USERS, created_at__gte=begun)


def show_stored(begun: datetime, *, expect: int) -> None:
    """Show what this demo has stored. Raises Failed unless that many entries are there."""
    entries = entries_since(begun).order_by("created_at").select_related("user")
    sessions = TokenSession.objects.filter(user__username__in=USERS, created_at__gte=begun).count()
    print(f"  blacklist entries: {len(entries)}; sessions: {sessions}")
    for entry in entries:
        print(
            f"    {entry.scope}  {entry.subject}  {entry.user}  {entry.get_reason_display()},"
            f" needed until {entry.expires_at.astimezone():%a %H:%M:%S}"
        )
    if (len(entries), sessions) != (expect, 1):
        raise Failed(f"There should be {expect} blacklist entries and one session.")


def clean_up(begun: datetime) -> None:
    title("Clean up: an entry goes when the last token that it refuses has expired")
    first = entries_since(begun).earliest("expires_at")
    until = first.expires_at + SECOND
    print(f"  ... waiting until {until.astimezone():%H:%M:%S}", flush=True)
    while (left := (until - clock.now()).total_seconds()) > 0:
        time.sleep(left)
    manage("cleanup_tokens", "--dry-run")
    manage("cleanup_tokens")
    if entries_since(begun).filter(pk=first.pk).exists():
        raise Failed("The cleanup has left an entry that is needed no longer.")


def next_steps(password: str) -> None:
    title("Next steps")
    make_run = "make run"
    if "DATABASE_URL" in _GIVEN or (settings.BASE_DIR / ".env").exists():
        make_run = "DATABASE_URL=sqlite:///db.sqlite3 make run"
    print(f"""  {make_run:<26}  serve this database, then open
    http://127.0.0.1:8000/        the start page
    http://127.0.0.1:8000/admin/  as admin, password {password}
    http://127.0.0.1:8000/api/docs/
  make test                   run the tests
  README.md                   add it to your project, schedule the cleanup""")


def run() -> None:
    password = secrets.token_urlsafe(9)
    set_up(password)
    begun = clock.now()
    with server(LONG) as api:
        log_in_and_out(api, password)
    with server(SHORT) as api:
        log_in_and_out_soon(api, password)
    title("What is stored: ids, never tokens")
    show_stored(begun, expect=3)
    clean_up(begun)
    show_stored(begun, expect=2)
    next_steps(password)


def main() -> None:
    if isinstance(sys.stdout, TextIOWrapper):  # or, in a pipe, an error would come first
        sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("\nStopped."))  # and stop the server
    try:
        run()
    except (Failed, CommandError, Error) as error:
        sys.exit(f"\nThe demo failed. {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")


if __name__ == "__main__":
    main()
