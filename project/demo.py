"""``make demo``: log in, log out and clean up through the real HTTP API.

Uses the SQLite file that ``make run`` serves afterwards. Tokens live for seconds, so that there is
something to clean up while you watch.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

# Lifetimes in seconds. No margin, because there is only one clock here.
LIFETIMES = {"ACCESS_TOKEN_LIFETIME": "8", "REFRESH_TOKEN_LIFETIME": "10"}
os.environ |= LIFETIMES | {
    "DEBUG": "1",
    "DATABASE_URL": "sqlite:///db.sqlite3",
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "TOKENS_CLEANUP_MARGIN": "0",
}

import django  # noqa: E402
import httpx  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402

from tokens.models import BlacklistEntry, TokenSession  # noqa: E402


def title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def show(request: str, answer: httpx.Response) -> httpx.Response:
    body = answer.text if answer.text and "access" not in answer.text else ""
    print(f"  {request:<58} {answer.status_code} {body}".rstrip())
    return answer


def show_blacklist() -> None:
    entries = BlacklistEntry.objects.select_related("user").order_by("expires_at")
    print(f"  the blacklist: {len(entries)} entries; live sessions: {TokenSession.objects.count()}")
    for entry in entries:
        print(
            f"    {entry.scope:<8} {entry.subject}  {entry.user}  {entry.get_reason_display()},"
            f" needed until {entry.expires_at:%H:%M:%S}"
        )


def manage(*arguments: str) -> None:
    print(f"  $ manage.py {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments], check=True)


@contextmanager
def server() -> Iterator[httpx.Client]:
    """Serve the project on a free local port, and stop it afterwards."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    manage_py = str(settings.BASE_DIR / "manage.py")
    process = subprocess.Popen(
        [sys.executable, manage_py, "runserver", "--noreload", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
            for _ in range(100):
                try:
                    client.get("/")
                    break
                except httpx.TransportError:
                    if process.poll() is not None:
                        sys.exit("The server did not start. Run `make run` to see why.")
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait()


def bearer(tokens: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access']}"}


def set_up(password: str) -> None:
    title("Set up SQLite and three users")
    call_command("migrate", verbosity=0)
    for name in ("ada", "grace", "admin"):
        User.objects.update_or_create(
            username=name,
            defaults={
                "password": make_password(password),
                "is_staff": name == "admin",
                "is_superuser": name == "admin",
            },
        )
    print(f"  ada, grace and admin (a superuser), password {password}")


def log_in(api: httpx.Client, name: str, password: str) -> dict[str, str]:
    credentials = {"username": name, "password": password}
    answer = show(f"POST /api/token/  ({name})", api.post("/api/token/", json=credentials))
    tokens: dict[str, str] = answer.json()
    return tokens


def log_in_and_out(api: httpx.Client, password: str) -> None:
    title("Log in: ada on two devices, grace on one")
    laptop, phone, grace = (log_in(api, name, password) for name in ("ada", "ada", "grace"))
    show("GET  /api/me/  (ada's laptop)", api.get("/api/me/", headers=bearer(laptop)))

    title("Refresh on the phone: the session's row is updated in place, and no new row is written")
    answer = api.post("/api/token/refresh/", json={"refresh": phone["refresh"]})
    phone = show("POST /api/token/refresh/  (ada's phone)", answer).json()

    title("Log out on the laptop: both its tokens are refused at once; the phone stays logged in")
    refresh = {"refresh": laptop["refresh"]}
    show("POST /api/logout/  (ada's laptop)", api.post("/api/logout/", json=refresh))
    show("GET  /api/me/  (ada's laptop)", api.get("/api/me/", headers=bearer(laptop)))
    answer = api.post("/api/token/refresh/", json=refresh)
    show("POST /api/token/refresh/  (ada's laptop)", answer)
    show("GET  /api/me/  (ada's phone)", api.get("/api/me/", headers=bearer(phone)))
    answer = api.post("/api/logout/", headers=bearer(grace))
    show("POST /api/logout/  (grace, with her access token)", answer)


def clean_up() -> None:
    title("What is stored: ids, never tokens")
    show_blacklist()
    title("Clean up: once while the entries are still needed, and again after they have expired")
    manage("cleanup_tokens")
    expiry = max(entry.expires_at for entry in BlacklistEntry.objects.filter(scope="session"))
    print(f"  ... waiting until {expiry:%H:%M:%S}, when the last token expires", flush=True)
    time.sleep(max(0.0, expiry.timestamp() + 1 - time.time()))
    manage("cleanup_tokens", "--dry-run")
    manage("cleanup_tokens")
    show_blacklist()


def main() -> None:
    password = secrets.token_urlsafe(9)
    set_up(password)
    with server() as api:
        log_in_and_out(api, password)
    clean_up()
    title("Next steps")
    print(f"""  make run                    serve this database, then open
    http://127.0.0.1:8000/        the start page
    http://127.0.0.1:8000/admin/  as admin, password {password}
    http://127.0.0.1:8000/api/docs/
  make test                   run the tests
  README.md                   add it to your project, schedule the cleanup""")


if __name__ == "__main__":
    main()
