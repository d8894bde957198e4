import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Permission
from django.core.cache import cache
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from project import settings as project_settings
from tokens import retry, signals

from . import driver
from .emptying import replace_flush

# A shared machine may be slow; that is no finding.
hypothesis_settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("shared")

PASSWORD = "correct horse battery staple"

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# They need packages that are not required: make test-browser, test-clients, test-foreign.
collect_ignore = ["browser", "clients", "foreign"]

NOT_STATEMENTS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA", "SET ")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--skip-any-database",
        action="store_true",
        help="leave out what another run on another database tests as well",
    )
    parser.addoption(
        "--skip-thorough",
        action="store_true",
        help="leave out what repeats other tests under other circumstances",
    )


def pytest_report_header() -> str:
    return f"database: {connection.vendor}, by {driver.name()}"


def pytest_collection() -> None:
    """Collect no garbage while tests are collected: each worker makes thousands, and all stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker is alone with it at the end."""
    out = ["any_database"] if config.getoption("skip_any_database") else []
    if config.getoption("skip_thorough"):
        out.append("thorough")
    if "clusters" not in config.getoption("markexpr"):
        out.append("clusters")
    for mark in out:
        config.hook.pytest_deselected(items=[one for one in items if one.get_closest_marker(mark)])
        items[:] = [item for item in items if not item.get_closest_marker(mark)]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def commit_without_waiting() -> None:
    """Let PostgreSQL answer before a commit is on the disk, children included.

    No test pulls the plug, and to wait takes longer than most tests do.
    """
    for one in connections.all():
        if one.vendor == "postgresql":
            with one.cursor() as cursor:
                name = one.ops.quote_name(one.settings_dict["NAME"])
                cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
            one.close()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        replace_flush()
        commit_without_waiting()


@pytest.fixture
def cached_health(settings: Any) -> Iterator[None]:
    """Let the health endpoint cache, as the project does, from an empty cache on."""
    settings.HEALTH_CACHE_SECONDS = project_settings.HEALTH_CACHE_SECONDS
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(params=[False, True], ids=["", "ATOMIC_REQUESTS"])
def atomic_requests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", request.param)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again as often as always, but at once."""
    monkeypatch.setattr(retry, "WAITS", (0,) * len(retry.WAITS))


@pytest.fixture
def make_user(db: None) -> Callable[..., AbstractUser]:
    def make(username: str = "ada", **fields: Any) -> AbstractUser:
        return get_user_model().objects.create_user(username, password=PASSWORD, **fields)

    return make


@pytest.fixture
def user(make_user: Callable[..., AbstractUser]) -> AbstractUser:
    return make_user()


@pytest.fixture
def api() -> APIClient:
    return APIClient()


MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"
PBKDF2 = "django.contrib.auth.hashers.PBKDF2PasswordHasher"


@contextmanager
def better_hasher(settings: Any) -> Iterator[None]:
    """What a new release of Django does: each login makes a better hash. Here it is a fast one."""
    settings.PASSWORD_HASHERS = [PBKDF2, MD5]
    with patch(f"{PBKDF2}.iterations", 100):
        yield


class Login:
    """A client that has logged in through the API."""

    def __init__(self, user: AbstractUser) -> None:
        self.api = APIClient()
        answer = self.api.post("/api/token/", {"username": user.username, "password": PASSWORD})
        assert answer.status_code == 200, answer.json()
        self.access = answer.json()["access"]
        self.refresh_token = answer.json()["refresh"]

    def me(self, access: str | None = None) -> Any:
        return self.api.get("/api/me/", HTTP_AUTHORIZATION=f"Bearer {access or self.access}")

    def refresh(self, refresh: str | None = None) -> Any:
        return self.api.post("/api/token/refresh/", {"refresh": refresh or self.refresh_token})

    def logout(self) -> Any:
        return self.api.post("/api/logout/", {"refresh": self.refresh_token})


def bearer(token: object) -> dict[str, Any]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def dead(login: Login) -> bool:
    return bool(login.me().status_code == login.refresh().status_code == 401)


def alive(login: Login) -> bool:
    return bool(login.me().status_code == login.refresh().status_code == 200)


@pytest.fixture
def log_in(db: None) -> Callable[[AbstractUser], Login]:
    return Login


@pytest.fixture
def staff(make_user: Callable[..., AbstractUser]) -> Callable[..., Client]:
    def log_in(*permissions: str, **fields: Any) -> Client:
        user = make_user(
            f"staff{get_user_model()._default_manager.count()}", is_staff=True, **fields
        )
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return log_in


SIGNALS = ["session_started", "session_refreshed", "session_ended", "refresh_reuse_detected"]


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What signals of sessions say. Each receiver raises, which disturbs nobody."""
    calls: list[tuple[str, dict[str, Any]]] = []
    receivers = {}
    for name in SIGNALS:

        def receive(name: str = name, **arguments: Any) -> None:
            del arguments["signal"], arguments["sender"]
            calls.append((name, arguments))
            raise RuntimeError("a receiver disturbs nobody")

        receivers[name] = receive
        getattr(signals, name).connect(receive)
    yield calls
    for name, receiver in receivers.items():
        assert getattr(signals, name).disconnect(receiver)


class Statements(list[str]):
    """The SQL statements that ran, without the brackets of transactions."""


@pytest.fixture
def statements() -> Callable[[], Any]:
    @contextmanager
    def record() -> Iterator[Statements]:
        found = Statements()
        with CaptureQueriesContext(connection) as captured:
            yield found
        found.extend(
            query["sql"]
            for query in captured.captured_queries
            if not query["sql"].upper().startswith(NOT_STATEMENTS)
        )

    return record
