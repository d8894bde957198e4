"""The views of the endpoints are public: a project derives from them, as from DRF's."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.cache import cache
from django.urls import include, path
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny, BasePermission, IsAdminUser, IsAuthenticated
from rest_framework.settings import api_settings as rest_framework
from rest_framework.test import APIClient
from rest_framework.throttling import AnonRateThrottle, UserRateThrottle

from tokens.api import views
from tokens.api.authentication import JWTAuthentication
from tokens.jwt import RefreshToken
from tokens.models import TokenSession

from .conftest import PASSWORD, Login, bearer
from .forge import sign
from .including import ada as ada
from .including import no_rates as no_rates

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.any_database,
    pytest.mark.urls("tests.test_public_views"),
]

VIEWS: dict[str, Any] = {
    name: view
    for name, view in vars(views).items()
    if isinstance(view, type) and issubclass(view, views.TokenView)
}
POSTED = {
    "TokenObtainPairView": lambda one: {"username": "ada", "password": PASSWORD},
    "TokenVerifyView": lambda one: {"token": one.access},
}


class Closed(BasePermission):
    message = "closed"

    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Once(AnonRateThrottle):
    rate = "1/hour"
    scope = "once"


class OncePerUser(UserRateThrottle):
    rate = "1/hour"
    scope = "once_per_user"


class ThricePerUser(OncePerUser):
    rate = "3/hour"


def derived(name: str, **attributes: Any) -> Any:
    return type(name, (VIEWS[name],), attributes)


class Mine(JWTAuthentication):
    def authenticate(self, request: Any) -> Any:
        return super().authenticate(request) if "HTTP_X_MINE" in request.META else None


def urls(cls: Any, **initkwargs: Any) -> None:
    urlpatterns[1:] = [path("view/<str:sid>/", cls.as_view(**initkwargs))]


urlpatterns: list[Any] = [path("api/", include("tokens.urls"))]


@pytest.fixture(autouse=True)
def fresh_urls() -> Any:
    from django.urls import clear_url_caches

    clear_url_caches()
    yield
    clear_url_caches()


def call(cls: Any, ada: Any, *, header: bool = True, **extra: Any) -> Any:
    """Call the view as its client should, by the method that it has."""
    methods = [one for one in ("get", "delete", "post") if hasattr(cls, one)]
    method = next(one for one in methods if one in cls.http_method_names)
    body = POSTED.get(cls.__name__, lambda one: {"refresh": one.refresh_token})(ada)
    given = bearer(ada.access) if header else {}
    sid = TokenSession.objects.get().sid if TokenSession.objects.count() == 1 else "x"
    return getattr(APIClient(), method)(f"/view/{sid}/", body, **{**given, **extra})


@pytest.mark.parametrize("name", VIEWS)
def test_permission_classes_of_a_subclass_count(name: str, ada: Login) -> None:
    if hasattr(VIEWS[name], "post") or hasattr(VIEWS[name], "get"):
        urls(derived(name, permission_classes=(Closed,)))
        answer = call(VIEWS[name], ada)
        assert answer.status_code in (401, 403)
        assert set(answer.json()) == {"detail", "code"}
        urls(VIEWS[name], permission_classes=[Closed])
        assert call(VIEWS[name], ada).status_code in (401, 403)


SIGNED_IN = ["LogoutAllView", "LogoutOthersView", "SessionListView", "SessionDetailView"]


@pytest.mark.parametrize("name", SIGNED_IN)
def test_an_empty_tuple_means_that_nobody_is_authenticated(name: str, ada: Login) -> None:
    urls(derived(name, authentication_classes=()))
    assert call(VIEWS[name], ada).status_code == 403  # 401 would ask for what none can read
    urls(VIEWS[name], authentication_classes=[])
    assert call(VIEWS[name], ada).status_code == 403
    assert TokenSession.objects.count() == 1


@pytest.mark.parametrize("name", SIGNED_IN)
def test_authentication_classes_of_a_subclass_count(name: str, ada: Login) -> None:
    urls(derived(name, authentication_classes=(Mine,)))
    assert call(VIEWS[name], ada).status_code == 401
    assert call(VIEWS[name], ada, HTTP_X_MINE="1").status_code in (200, 204)


@pytest.mark.parametrize("name", [*SIGNED_IN, "LogoutView"])
def test_the_classes_are_the_projects_that_derive_from_ours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert VIEWS[name].authentication_classes == [JWTAuthentication]
    monkeypatch.setattr(
        rest_framework, "DEFAULT_AUTHENTICATION_CLASSES", [SessionAuthentication, Mine]
    )
    assert VIEWS[name].authentication_classes == [Mine]
    assert VIEWS[name]().authentication_classes == [Mine]
    assert derived(name, authentication_classes=()).authentication_classes == ()


def test_permissions_replace_ours(ada: Login, user: AbstractUser) -> None:
    urls(derived("SessionListView", permission_classes=(IsAdminUser,)))
    assert call(VIEWS["SessionListView"], ada).status_code == 403
    user.__class__.objects.update(is_staff=True)
    assert call(VIEWS["SessionListView"], ada).status_code == 200
    urls(derived("LogoutAllView", permission_classes=(IsAuthenticated, IsAdminUser)))
    assert call(VIEWS["LogoutAllView"], ada).status_code == 200


@pytest.mark.parametrize("name", [one for one in VIEWS if one not in ("TokenView", "SignedInView")])
def test_throttle_classes_of_a_subclass_count(name: str, ada: Login) -> None:
    throttle = OncePerUser if name in SIGNED_IN else Once
    urls(derived(name, throttle_classes=(throttle,)))
    header = name in SIGNED_IN
    statuses = []
    for _ in range(2):
        statuses.append(call(VIEWS[name], ada, header=header).status_code)
        if name in ("LogoutAllView", "SessionDetailView"):
            ada = Login(TokenSession._meta.get_field("user").related_model.objects.get())
    assert statuses[0] in (200, 204)
    assert statuses[1] == 429


def test_a_login_may_demand_another_authentication(ada: Login) -> None:
    cls = derived(
        "TokenVerifyView",
        authentication_classes=(BasicAuthentication,),
        permission_classes=(IsAuthenticated,),
    )
    urls(cls)
    assert call(VIEWS["TokenVerifyView"], ada, header=False).status_code == 401
    basic = {"HTTP_AUTHORIZATION": f"Basic {_base64(f'ada:{PASSWORD}')}"}
    assert call(VIEWS["TokenVerifyView"], ada, **basic).status_code == 200


def _base64(text: str) -> str:
    from base64 import b64encode

    return b64encode(text.encode()).decode()


# Logging out judges the token by itself


def test_a_permission_knows_who_logs_out(ada: Login) -> None:
    urls(derived("LogoutView", permission_classes=(IsAuthenticated,)))
    client = APIClient()
    assert client.post("/view/x/").status_code == 401
    assert client.post("/view/x/", **bearer("forged")).status_code == 401
    assert client.post("/view/x/", {"refresh": ada.refresh_token}).status_code == 401
    assert TokenSession.objects.count() == 1
    assert client.post("/view/x/", **bearer(ada.access)).status_code == 204
    assert client.post("/view/x/", **bearer(ada.access)).status_code == 401  # by the permission


def test_a_throttle_that_asks_for_the_user_lets_old_tokens_log_out(
    ada: Login, user: AbstractUser
) -> None:
    urls(derived("LogoutView", throttle_classes=(ThricePerUser,)))
    client = APIClient()
    for _ in range(2):  # the second one is revoked already
        assert client.post("/view/x/", **bearer(ada.access)).status_code == 204
    other = {"refresh": str(RefreshToken.for_user(user))}
    forged = sign({"exp": 1}, key="another key" * 9)
    assert client.post("/view/x/", other, **bearer(forged)).status_code == 204
    assert not TokenSession.objects.exists()


def test_classes_of_a_subclass_find_the_token_that_logs_out(ada: Login) -> None:
    client = APIClient()
    urls(derived("LogoutView", authentication_classes=(Mine, SessionAuthentication)))
    assert client.post("/view/x/", **bearer(ada.access)).status_code == 400
    assert client.post("/view/x/", HTTP_X_MINE="1", **bearer(ada.access)).status_code == 204
    urls(derived("LogoutView", authentication_classes=()))
    assert client.post("/view/x/", **bearer(ada.access)).status_code == 400
    assert client.post("/view/x/", {"refresh": ada.refresh_token}).status_code == 204


def test_logging_out_by_header_asks_for_no_user(ada: Login, statements: Callable[[], Any]) -> None:
    urls(views.LogoutView)
    with statements() as found:
        assert APIClient().post("/view/x/", **bearer(ada.access)).status_code == 204
    assert len(found) == 3, found


def test_views_stay_views_of_drf() -> None:
    cache.clear()
    for name, cls in VIEWS.items():
        assert issubclass(cls, GenericAPIView), name
        assert AllowAny not in cls.permission_classes
