"""The check that something limits guessing passwords, and the page that says how."""

import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.cache import cache, caches
from django.core.checks import run_checks
from django.urls import include, path
from rest_framework.settings import api_settings as framework
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.throttling import (
    AnonRateThrottle,
    BaseThrottle,
    ScopedRateThrottle,
    SimpleRateThrottle,
    UserRateThrottle,
)
from rest_framework_simplejwt import views as theirs
from rest_framework_simplejwt.serializers import TokenObtainSlidingSerializer

from tokens.api import views
from tokens.checks.throttling import check_throttles

from .conftest import PASSWORD, Login
from .snippets import HOWTO, snippet

pytestmark = pytest.mark.any_database

SHARED = {
    "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
    "LOCATION": "/nowhere-that-a-check-would-write",
}
LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
DUMMY = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}


def ids() -> list[str]:
    return [str(message.id) for message in check_throttles()]


@pytest.fixture
def serve(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the project have these URLs."""

    def route(*views: Any) -> None:
        module = ModuleType("throttled_urls")
        module.urlpatterns = [  # type: ignore[attr-defined]
            path(f"{number}/", view) for number, view in enumerate(views)
        ]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        settings.ROOT_URLCONF = module.__name__

    return route


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Callable[..., None]:
    """Let the project's default throttles and their rates be these; at first a good one."""

    def give(*throttles: type[BaseThrottle], **rates: str | None) -> None:
        monkeypatch.setattr(views.TokenView, "throttle_classes", throttles)
        monkeypatch.setattr(theirs.TokenViewBase, "throttle_classes", throttles)
        monkeypatch.setattr(SimpleRateThrottle, "THROTTLE_RATES", rates)

    monkeypatch.setattr(framework, "NUM_PROXIES", 0)
    give(ScopedRateThrottle, tokens_login="10/min")
    # Not override_settings: a test's other settings, undone later, would bring the caches back.
    settings.CACHES = {"default": SHARED, "local": LOCAL}
    return give


class OwnThrottle(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        return False


class Fixed(SimpleRateThrottle):
    rate = "1/day"


class Rated(ScopedRateThrottle):
    THROTTLE_RATES = {"tokens_login": "1/day"}


OUR_URLS = (include("tokens.urls"),)


@pytest.mark.parametrize(
    ("throttles", "rates", "expected"),
    [
        ([], {}, ["tokens.W060"]),
        ([], {"tokens_login": "1/day"}, ["tokens.W060"]),
        ([ScopedRateThrottle], {}, ["tokens.W060"]),
        ([ScopedRateThrottle], {"tokens_refresh": "1/day"}, ["tokens.W060"]),
        ([ScopedRateThrottle], {"tokens": None}, ["tokens.W060"]),
        ([ScopedRateThrottle], {"tokens_login": None, "tokens": "1/day"}, ["tokens.W060"]),
        ([AnonRateThrottle], {"anon": None}, ["tokens.W060"]),
        ([ScopedRateThrottle], {"tokens_login": "1/day"}, []),
        ([ScopedRateThrottle], {"tokens": "1/day"}, []),
        ([AnonRateThrottle], {"anon": "1/day"}, []),
        ([AnonRateThrottle], {}, []),  # each request fails, and says why
        ([UserRateThrottle], {"user": "1/day"}, []),
        ([Fixed], {}, []),
        ([Rated], {}, []),
        ([OwnThrottle], {}, []),
        ([ScopedRateThrottle, OwnThrottle], {}, []),
    ],
)
def test_a_warning_shows_exactly_where_nothing_limits_logins(
    throttles: Any, rates: Any, expected: list[str], serve: Any, limits: Any
) -> None:
    serve(*OUR_URLS)
    limits(*throttles, **rates)
    assert ids() == expected


def test_the_check_is_for_deployments(serve: Any, limits: Any) -> None:
    serve(*OUR_URLS)
    limits()
    found = [message.id for message in run_checks(include_deployment_checks=True)]
    assert "tokens.W060" in found
    assert "tokens.W060" not in [message.id for message in run_checks()]


class Sliding(theirs.TokenViewBase):
    serializer_class = TokenObtainSlidingSerializer


class Scoped(theirs.TokenObtainPairView):
    throttle_scope = "tokens_login"


class Other(theirs.TokenObtainPairView):
    throttle_scope = "no_such_scope"


class ByRequest(theirs.TokenObtainPairView):
    def get_throttles(self) -> Any:
        return [OwnThrottle()] if self.request.method == "POST" else []


class ByItself(theirs.TokenObtainPairView):
    def check_throttles(self, request: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (theirs.TokenObtainPairView.as_view(), ["tokens.W060"]),
        (theirs.TokenObtainSlidingView.as_view(), ["tokens.W060"]),
        (Sliding.as_view(), ["tokens.W060"]),
        (
            theirs.TokenViewBase.as_view(serializer_class=TokenObtainSlidingSerializer),
            ["tokens.W060"],
        ),
        (views.TokenObtainPairView.as_view(throttle_classes=[]), ["tokens.W060"]),
        (views.TokenObtainPairView.as_view(), []),
        (theirs.TokenRefreshView.as_view(), []),
        (views.TokenRefreshView.as_view(throttle_classes=[]), []),
        (Scoped.as_view(), []),
        (Other.as_view(), []),  # each request fails, and says why
        (ByRequest.as_view(), []),
        (ByItself.as_view(), []),
        (lambda request: None, []),
    ],
)
def test_only_what_takes_passwords_is_looked_at(view: Any, expected: list[str], serve: Any) -> None:
    serve(view)
    assert ids() == expected


def test_a_project_without_urls_is_left_alone(settings: Any) -> None:
    settings.ROOT_URLCONF = None
    assert ids() == []


@pytest.mark.parametrize("name", ["axes", "defender", "django_ratelimit"])
@pytest.mark.parametrize("how", ["app", "import"])
def test_other_packages_that_limit_logins_count(
    how: str, name: str, serve: Any, limits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(*OUR_URLS)
    limits()
    assert ids() == ["tokens.W060"]
    if how == "import":
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    else:
        monkeypatch.setattr("django.apps.apps.is_installed", lambda app: app == name)
    assert ids() == []


class InOwnCache(ScopedRateThrottle):
    @property
    def cache(self) -> Any:  # type: ignore[override]
        return caches["local"]


@pytest.mark.parametrize(
    ("given", "throttles", "expected"),
    [
        (LOCAL, [ScopedRateThrottle], ["tokens.W061"]),
        (DUMMY, [ScopedRateThrottle], ["tokens.W061"]),
        (SHARED, [ScopedRateThrottle], []),
        (SHARED, [InOwnCache], ["tokens.W061"]),
        (LOCAL, [ScopedRateThrottle, OwnThrottle], []),
        (LOCAL, [OwnThrottle], []),
    ],
)
def test_a_rate_that_each_process_counts_by_itself_is_reported(
    given: Any, throttles: Any, expected: list[str], serve: Any, limits: Any, settings: Any
) -> None:
    serve(*OUR_URLS)
    limits(*throttles, tokens_login="1/day")
    settings.CACHES = {"default": given, "local": LOCAL}
    assert ids() == expected


class ByPeer(ScopedRateThrottle):
    def get_ident(self, request: Any) -> Any:
        return request.META["REMOTE_ADDR"]


@pytest.mark.parametrize(
    ("throttle", "proxies", "expected"),
    [
        (ScopedRateThrottle, None, ["tokens.W062"]),
        (AnonRateThrottle, None, ["tokens.W062"]),
        (ScopedRateThrottle, 0, []),
        (ScopedRateThrottle, 1, []),
        (ByPeer, None, []),
    ],
)
def test_a_rate_that_a_header_gets_round_is_reported(
    throttle: Any,
    proxies: int | None,
    expected: list[str],
    serve: Any,
    limits: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(*OUR_URLS)
    limits(throttle, tokens_login="1/day", anon="1/day")
    monkeypatch.setattr(framework, "NUM_PROXIES", proxies)
    assert ids() == expected


# The page


@pytest.fixture
def counted(settings: Any) -> Iterator[None]:
    """Count in a cache of this test's."""
    settings.CACHES = {"default": LOCAL | {"LOCATION": "throttling"}}
    cache.clear()
    yield
    cache.clear()


def page(beginning: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(snippet("throttle", language="python", beginning=beginning, folder=HOWTO), found)  # noqa: S102 (our own page)
    return found


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("counted")
def test_the_pages_rates_limit_logins_and_keep_nobody_from_the_rest(
    user: AbstractUser, limits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = page("REST_FRAMEWORK = {")["REST_FRAMEWORK"]
    assert given["DEFAULT_THROTTLE_CLASSES"] == [
        f"{ScopedRateThrottle.__module__}.{ScopedRateThrottle.__qualname__}"
    ]
    limits(ScopedRateThrottle, **given["DEFAULT_THROTTLE_RATES"])
    monkeypatch.setattr(framework, "NUM_PROXIES", given["NUM_PROXIES"])
    login, form = Login(user), {"username": "ada", "password": "wrong"}

    def attempt(forged: str) -> int:
        client = {"HTTP_X_FORWARDED_FOR": f"{forged}, 192.0.2.1", "REMOTE_ADDR": "10.0.0.1"}
        return int(APIClient().post("/api/token/", form, **client).status_code)

    statuses = [attempt(f"203.0.113.{number}") for number in range(11)]
    assert statuses == [401] * 10 + [429]
    assert login.refresh().status_code == 200
    assert [login.logout().status_code for _ in range(20)] == [204] * 20


@pytest.mark.usefixtures("counted")
def test_without_num_proxies_a_header_gets_round_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What W062 says."""
    monkeypatch.setattr(framework, "NUM_PROXIES", None)
    idents = {
        ScopedRateThrottle().get_ident(APIRequestFactory().get("/", HTTP_X_FORWARDED_FOR=str(one)))
        for one in range(5)
    }
    assert len(idents) == 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("counted")
def test_the_pages_throttle_counts_by_name(
    make_user: Any, limits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user("ada")
    make_user("bob")
    found = page("from hashlib")
    limits(ScopedRateThrottle, tokens_login="100/min", login_name="2/hour")
    view = found["LoginView"].as_view()

    def log_in(body: Any, address: str = "192.0.2.1") -> int:
        request = APIRequestFactory().post("/", body, format="json", REMOTE_ADDR=address)
        return int(view(request).status_code)

    wrong = {"username": "Ada", "password": "wrong"}
    assert [log_in(wrong, f"192.0.2.{number}") for number in range(3)] == [401, 401, 429]
    assert log_in({"username": "ada", "password": PASSWORD}, "192.0.2.9") == 429
    assert log_in({"username": "bob", "password": PASSWORD}) == 200
    odd: list[Any] = [[], {}, {"username": ""}]
    assert [log_in(body) for body in odd] == [400, 400, 429]  # all of them are nobody


def test_the_page_names_every_scope_and_the_right_settings() -> None:
    text = (HOWTO / "throttle.md").read_text()
    scopes = {
        view.throttle_scope
        for view in vars(views).values()
        if isinstance(view, type) and issubclass(view, views.TokenView)
    }
    [table] = re.findall(r"^\| scope \|.*\n\| -.*\n((?:\|.*\n)+)", text, re.M)
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == scopes
    assert page("CACHES = {")["CACHES"]["default"]["BACKEND"].endswith("RedisCache")
