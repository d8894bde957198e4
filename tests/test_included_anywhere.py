"""The endpoints in projects that are not ours: their prefixes, rates and databases."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.core.cache import cache
from django.test import Client
from django.urls import include, path
from rest_framework.request import Request
from rest_framework.test import APIClient
from rest_framework.throttling import AnonRateThrottle, ScopedRateThrottle
from rest_framework.versioning import NamespaceVersioning, URLPathVersioning
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens.api.views import SessionListView, TokenView
from tokens.jwt import RefreshToken

from .conftest import PASSWORD, Login, bearer
from .including import LOGOUTS, shape
from .including import ada as ada
from .including import no_rates as no_rates

pytestmark = pytest.mark.django_db(transaction=True)

tokens_urls = include("tokens.urls")
urlpatterns = [
    path("text/<str:version>/", tokens_urls),
    path("number/<int:shop>/", tokens_urls),
    path("two/<slug:tenant>/<int:year>/", tokens_urls),
    path("sid/<str:sid>/", tokens_urls),
    path("named/v1/", include(("tokens.urls", "auth"), namespace="v1")),
    path("plain/", tokens_urls),
]
PREFIXES = ["text/v1", "number/7", "two/shop/2030", "sid/x", "named/v1", "plain"]


def give_right(user: AbstractUser) -> None:
    user.user_permissions.add(Permission.objects.get(codename="introspect_token"))


# Any prefix


def call_all(api: APIClient, prefix: str, user: AbstractUser) -> dict[str, int]:
    """Call each endpoint as it should be called, and return the statuses."""
    found: dict[str, int] = {}

    def call(name: str, method: str = "post", status: int = 200, **given: Any) -> Any:
        answer = getattr(api, method)(f"/{prefix}/{name}", **given)
        found[name] = answer.status_code
        assert answer.status_code == status, (name, answer.content)
        return answer

    def log_in() -> tuple[str, str]:
        given = {"username": user.get_username(), "password": PASSWORD}
        made = call("token/", data=given).json()
        return made["refresh"], made["access"]

    refresh, access = log_in()
    refresh = call("token/refresh/", data={"refresh": refresh}).json()["refresh"]
    call("token/verify/", data={"token": access})
    call("token/blacklist/", data={"refresh": refresh})
    refresh, access = log_in()
    call("logout/", status=204, data={"refresh": refresh})
    call("logout/", status=204, **bearer(access))
    refresh, access = log_in()
    other = str(RefreshToken.for_user(user)["sid"])
    rows = call("sessions/?page_size=1", "get", **bearer(access)).json()
    assert rows["count"] == 2
    assert rows["next"].startswith(f"http://testserver/{prefix}/sessions/")
    call(f"sessions/{other}/", "delete", 204, **bearer(access))
    call(f"sessions/{other}/", "delete", 404, **bearer(access))
    give_right(user)
    assert call("introspect/", data={"token": access}, **bearer(access)).json()["active"]
    call("revocations/", "get", **bearer(access))
    call("revoke/", data={"token": str(RefreshToken.for_user(user))})
    call("logout/others/", **bearer(access))
    call("logout/all/", **bearer(access))
    for name in list(found):
        if not name.startswith(f"sessions/{other}"):
            assert api.options(f"/{prefix}/{name}", **bearer(access)).status_code in (200, 401)
    return found


@pytest.mark.any_database
@pytest.mark.urls("tests.test_included_anywhere")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_endpoint_works_under_a_prefix(
    user: AbstractUser, api: APIClient, prefix: str
) -> None:
    from tokens.urls import urlpatterns as ours

    assert len(call_all(api, prefix, user)) == len(ours)


@pytest.mark.any_database
@pytest.mark.urls("tests.test_included_anywhere")
@pytest.mark.parametrize(
    ("versioning", "prefix", "other"),
    [(NamespaceVersioning, "named/v1", None), (URLPathVersioning, "text/v1", "text/v2")],
)
def test_every_endpoint_works_with_versions_in_the_path(
    user: AbstractUser,
    api: APIClient,
    monkeypatch: pytest.MonkeyPatch,
    versioning: Any,
    prefix: str,
    other: str | None,
) -> None:
    monkeypatch.setattr(TokenView, "versioning_class", versioning)
    monkeypatch.setattr(versioning, "allowed_versions", ["v1"])
    call_all(api, prefix, user)
    if other:
        answer = api.post(f"/{other}/logout/")
        assert (answer.status_code, shape(answer)) == (404, {"detail", "code"})


# Rates

SCOPES = {
    "tokens_login": [("post", "token/")],
    "tokens_refresh": [("post", "token/refresh/")],
    "tokens_logout": [*LOGOUTS, ("post", "revoke/")],
    "tokens_introspect": [("post", "introspect/"), ("get", "revocations/")],
    "tokens": [("post", "token/verify/"), ("get", "sessions/")],
}


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def give(throttle: Any = ScopedRateThrottle, /, **rates: str | None) -> None:
        monkeypatch.setattr(TokenView, "throttle_classes", [throttle])
        monkeypatch.setattr(throttle, "THROTTLE_RATES", rates)

    return give


def limited(api: APIClient, scope: str) -> bool:
    """Return whether the second request of this scope is one too many."""
    found = set()
    for method, name in SCOPES[scope]:
        cache.clear()
        answers = [getattr(api, method)(f"/api/{name}") for _ in range(2)]
        assert answers[0].status_code in (200, 400, 404)
        found.add(answers[1].status_code == 429)
    (only,) = found
    return only


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, set()),
        ({"uploads": "20/day"}, set()),
        ({"tokens": "1/hour"}, set(SCOPES) - {"tokens_logout"}),
        ({"tokens_login": "1/hour"}, {"tokens_login"}),
        ({"tokens_refresh": "1/hour"}, {"tokens_refresh"}),
        ({"tokens_logout": "1/hour"}, {"tokens_logout"}),
        ({"tokens_introspect": "1/hour"}, {"tokens_introspect"}),
        ({"tokens_login": "1/hour", "tokens": "9/hour"}, {"tokens_login"}),
        (
            {"tokens_login": None, "tokens": "1/hour"},
            {"tokens_refresh", "tokens_introspect", "tokens"},
        ),
        ({"tokens_logout": "1/hour", "tokens": "1/hour"}, set(SCOPES)),
        ({"tokens": None}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_each_kind_of_request_has_its_rate_or_that_of_all_or_none(
    user: AbstractUser,
    api: APIClient,
    rates: Callable[..., None],
    given: dict[str, str],
    expected: set[str],
) -> None:
    rates(**given)
    give_right(user)
    api.force_authenticate(user)
    assert {scope for scope in SCOPES if limited(api, scope)} == expected


@pytest.mark.any_database
def test_each_kind_of_request_is_counted_by_itself(
    ada: Login, api: APIClient, rates: Callable[..., None]
) -> None:
    rates(tokens="5/min", tokens_logout="5/min")
    wrong = [api.post("/api/token/", {"username": "x", "password": "x"}) for _ in range(6)]
    assert [answer.status_code for answer in wrong] == [401] * 5 + [429]
    assert shape(wrong[-1]) == {"detail", "code"}
    assert ada.refresh().status_code == 200
    assert ada.logout().status_code == 204


class OwnRates(ScopedRateThrottle):
    """Rates from somewhere else."""

    def get_rate(self) -> Any:
        return {"tokens_login": "1/hour"}.get(str(self.scope))


class OwnScopes(ScopedRateThrottle):
    scope_attr = "burst_scope"


class Anonymous(AnonRateThrottle):
    rate = "1/hour"


@pytest.mark.any_database
def test_throttles_of_the_project_stay(
    user: AbstractUser, api: APIClient, rates: Callable[..., None]
) -> None:
    rates(OwnRates)
    assert limited(api, "tokens_login")
    assert not limited(api, "tokens_refresh")
    rates(OwnScopes)
    assert not limited(api, "tokens_login")
    rates(Anonymous)
    assert limited(api, "tokens_login")
    assert limited(api, "tokens_refresh")


class Unscoped(SessionListView):
    throttle_scope = None  # type: ignore[assignment]


@pytest.mark.any_database
def test_a_view_of_the_project_may_have_no_scope(rates: Callable[..., None]) -> None:
    rates(tokens="1/hour")
    (throttle,) = Unscoped().get_throttles()
    assert throttle.allow_request(Request(Client().get("/").wsgi_request), Unscoped())


# Several databases


class NoRelations:
    """A router that knows where to read and write, and nothing about relations."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "default"

    db_for_write = db_for_read

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return False


def test_a_router_that_allows_no_relation_is_no_obstacle(
    user: AbstractUser, ada: Login, settings: Any, staff: Callable[..., Client], api: APIClient
) -> None:
    client = staff(is_superuser=True)
    plain = str(PlainRefreshToken.for_user(user))
    settings.DATABASE_ROUTERS = ["tests.test_included_anywhere.NoRelations"]
    assert ada.api.get("/api/sessions/", **bearer(ada.access)).json()["count"] == 1
    for name in ("tokensession", "blacklistentry"):
        assert client.get(f"/admin/tokens/{name}/", {"q": "ada"}).status_code == 200
    assert api.post("/api/logout/", {"refresh": plain}).status_code == 204
    assert ada.logout().status_code == 204
    page = client.get("/admin/tokens/blacklistentry/", {"status": "in_force"})
    assert page.text.count(">ada</a>") == 2
