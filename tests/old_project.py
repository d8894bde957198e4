"""A project of plain simplejwt and its blacklist app, on the database of the test.

``python -m tests.old_project`` migrates, makes every kind of token and prints them as JSON. As a
WSGI application (``tests.old_project:application``) it is an old server.
"""

import json
import os
from datetime import timedelta
from typing import Any

import django
import environ
from django.conf import settings

import project  # noqa: F401  (makes PyMySQL the driver)

SHORT, LONG = timedelta(days=1), timedelta(days=30)


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

if __name__ == "__main__":
    import sys

    from django.core.management import call_command

    sys.modules["tests.old_project"] = sys.modules["__main__"]
    settings.ROOT_URLCONF = "tests.old_project"
    call_command("migrate", "token_blacklist", verbosity=0)
    if sys.argv[1:] == ["make"]:
        sys.stdout.write(json.dumps(make(os.environ["PASSWORD"])))
else:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
