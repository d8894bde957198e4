"""A project of plain simplejwt and its blacklist app, on the database of the test.

``python -m tests.old_project`` reads orders, one a line. "migrate" makes the tables; "make" makes
every kind of token after that and answers with them; "repeat" puts those that it made last into the
tables, if they are not too old. "serve" starts an old server. It answers each with a line of JSON.
"""

import json
import math
import os
import sys
import threading
import time
from datetime import timedelta
from functools import cache
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import environ
from django.conf import settings
from django.core.wsgi import get_wsgi_application

import project  # noqa: F401  (makes PyMySQL the driver)

SHORT, LONG = timedelta(days=1), timedelta(days=30)
REPEATED_FOR = 60  # seconds; an access token lives for 300, and must outlast a test


def configure() -> None:
    settings.configure(
        SECRET_KEY=os.environ["SECRET_KEY"],
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        ROOT_URLCONF=__name__,
        DATABASES={"default": environ.Env().db("DATABASE_URL")},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "rest_framework",
            "rest_framework_simplejwt",
            "rest_framework_simplejwt.token_blacklist",
        ],
        SIMPLE_JWT={
            "ROTATE_REFRESH_TOKENS": True,
            "BLACKLIST_AFTER_ROTATION": True,
            "REFRESH_TOKEN_LIFETIME": SHORT,
            "AUTH_TOKEN_CLASSES": ["rest_framework_simplejwt.tokens.AccessToken"],
        },
    )
    django.setup()


def urls() -> list[Any]:
    from django.urls import path
    from rest_framework_simplejwt import views

    return [
        path("api/token/", views.TokenObtainPairView.as_view()),
        path("api/token/refresh/", views.TokenRefreshView.as_view()),
        path("api/token/blacklist/", views.TokenBlacklistView.as_view()),
    ]


def make(password: str) -> dict[str, str]:
    """Return tokens of every kind, by name."""
    from django.contrib.auth import get_user_model
    from rest_framework.test import APIClient
    from rest_framework_simplejwt import tokens as simplejwt
    from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

    people = get_user_model().objects
    ada, bob, gone = (
        people.create_user(name, password=password) for name in ("ada", "bob", "gone")
    )
    client = APIClient()

    def post(path: str, **body: str) -> dict[str, str]:
        answer = client.post(f"/api/token/{path}", body)
        assert answer.status_code == 200, answer.content
        return dict(answer.json())

    def log_in(name: str = "ada") -> str:
        return post("", username=name, password=password)["refresh"]

    class Device(simplejwt.BlacklistMixin, simplejwt.Token):  # type: ignore[misc]
        token_type = "device"
        lifetime = LONG

    def refresh(**claims: Any) -> Any:
        token = simplejwt.RefreshToken.for_user(ada)
        token.payload.update(claims)
        return token

    made: dict[str, Any] = {"live": log_in(), "live_too": log_in()}
    made["access"] = str(simplejwt.RefreshToken(made["live"]).access_token)
    made["rotated"] = log_in()
    made["successor"] = post("refresh/", refresh=made["rotated"])["refresh"]
    made["logged_out"] = log_in()
    post("blacklist/", refresh=made["logged_out"])
    made["everywhere"], made["everywhere_too"] = log_in("bob"), log_in("bob")
    for row in OutstandingToken.objects.filter(user=bob):
        BlacklistedToken.objects.get_or_create(token=row)
    made["sliding"] = simplejwt.SlidingToken.for_user(ada)
    made["sliding_out"] = simplejwt.SlidingToken.for_user(ada)
    made["device"], made["device_out"] = Device.for_user(ada), Device.for_user(ada)
    made["remembered"], made["remembered_out"] = refresh(), refresh()
    for name in ("remembered", "remembered_out"):
        made[name].set_exp(lifetime=LONG)
    for kind, value in (
        ("uuid", "0b6f2c1e-7a65-4d0e-9d3c-2f0b7c7b1c11"),
        ("int", 7),
        ("text", "kitchen"),
    ):
        made[f"sid_{kind}"], made[f"sid_{kind}_out"] = refresh(sid=value), refresh(sid=value)
    made["nobody"], made["nobody_out"] = simplejwt.RefreshToken(), simplejwt.RefreshToken()
    made["nobody"].outstand()
    made["gone"], made["gone_out"] = log_in("gone"), log_in("gone")
    post("blacklist/", refresh=made["gone_out"])
    gone.delete()
    for name, token in made.items():
        if name.endswith("_out") and not isinstance(token, str):
            token.blacklist()
    return {name: str(token) for name, token in made.items()}


configure()
urlpatterns = urls()


class Migrations:
    """Simplejwt's migrations. From the second time on, only what the database lacks of them.

    To work out their statements takes most of the time, and to make tables most of the rest.
    """

    def __init__(self) -> None:
        self._tables: list[tuple[str, Any]] = []
        self._records: list[tuple[str, Any]] = []

    def run(self) -> None:
        from django.apps import apps
        from django.contrib.auth.management import create_permissions
        from django.contrib.contenttypes.models import ContentType
        from django.core.management import call_command
        from django.db import connection, transaction

        ContentType.objects.clear_cache()  # a test may have deleted simplejwt's since
        if not self._records:
            with connection.execute_wrapper(self._note):
                call_command("migrate", "token_blacklist", verbosity=0)
            if connection.vendor == "mysql":
                self._tables = self._at_once()
            return
        with transaction.atomic(), connection.cursor() as cursor:
            there = set(names()).issubset(connection.introspection.table_names(cursor))
            for sql, params in self._records if there else self._tables + self._records:
                cursor.execute(sql, params)
        # And makes the content types. Those of other apps are there.
        create_permissions(apps.get_app_config("token_blacklist"), verbosity=0)

    def _note(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("ALTER", "CREATE", "DROP", "SET")):
            self._tables.append((sql, params))
        elif "INSERT" in sql and "django_migrations" in sql:
            self._records.append((sql, params))
        return execute(sql, params, many, context)

    def _at_once(self) -> list[tuple[str, Any]]:
        """Return what makes the tables as they are now. MariaDB writes each change to the disk."""
        from django.db import connection

        found = []
        with connection.cursor() as cursor:
            for name in names():
                cursor.execute(f"SHOW CREATE TABLE {name}")
                found.append((cursor.fetchone()[1], None))
        return found


def names() -> list[str]:
    """Return the names of simplejwt's tables, what others refer to first."""
    from rest_framework_simplejwt.token_blacklist import models

    return [one._meta.db_table for one in (models.OutstandingToken, models.BlacklistedToken)]


class Made:
    """The tokens that were made last, and their rows.

    To make them takes most of the time of a test that begins with them.
    """

    def __init__(self) -> None:
        self._at = -math.inf
        self._tokens: dict[str, str] = {}
        self._rows: list[tuple[Any, list[Any]]] = []

    def make(self) -> dict[str, str]:
        self._tokens = make(os.environ["PASSWORD"])
        self._at = time.monotonic()
        self._rows = [(model, list(model.objects.order_by("pk"))) for model in self._models()]
        return self._tokens

    def repeat(self) -> dict[str, str]:
        from django.core.management.color import no_style
        from django.db import connection, transaction

        if time.monotonic() > self._at + REPEATED_FOR:
            return self.make()
        with transaction.atomic(), connection.cursor() as cursor:
            for model, rows in self._rows:
                model.objects.bulk_create(rows)
            # PostgreSQL does not see that ids are taken that it has not given.
            for sql in connection.ops.sequence_reset_sql(no_style(), self._models()):
                cursor.execute(sql)
        return self._tokens

    def _models(self) -> list[Any]:
        from django.contrib.auth import get_user_model
        from rest_framework_simplejwt.token_blacklist import models

        return [get_user_model(), models.OutstandingToken, models.BlacklistedToken]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (as its parent)
        pass


@cache
def serve() -> dict[str, str]:
    """Start a server of the old project, which ends with the process; return where it is."""
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return {"url": f"http://127.0.0.1:{server.server_port}/api/"}


def obey(order: str, migrations: Migrations, made: Made) -> dict[str, Any]:
    from django.db import connections

    try:
        if order == "serve":
            return serve()
        migrations.run()
        return {} if order == "migrate" else getattr(made, order)()
    finally:
        connections.close_all()


if __name__ == "__main__":
    sys.modules["tests.old_project"] = sys.modules["__main__"]
    settings.ROOT_URLCONF = "tests.old_project"
    migrations, made = Migrations(), Made()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(obey(line.strip(), migrations, made)) + "\n")
        sys.stdout.flush()
