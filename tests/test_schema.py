"""The OpenAPI schema, as projects get it. tests/clients makes clients of it."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from django.urls import include, path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import patched_settings
from drf_spectacular.utils import extend_schema, extend_schema_view
from drf_spectacular.validation import validate_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory
from rest_framework.versioning import NamespaceVersioning, URLPathVersioning
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication as PlainAuthentication
from rest_framework_simplejwt.views import TokenObtainPairView as PlainLogin
from rest_framework_simplejwt.views import TokenRefreshView as PlainRefresh

from tokens.api import views
from tokens.api.authentication import JWTAuthentication
from tokens.api.schema import ERRORS
from tokens.api.schema.errors import CODES
from tokens.api.serializers import TokenObtainPairSerializer
from tokens.urls import urlpatterns as ours

from .conftest import PASSWORD
from .including import OPERATIONS
from .snippets import HOWTO, snippet
from .test_docs import section

pytestmark = pytest.mark.any_database

tokens_urls = path("api/", include("tokens.urls"))
JSON_BODY = {"login", "refresh", "verify", "blacklist", "logout"}
FORM_BODY = {"introspect", "revoke"}
WITH_BODY = JSON_BODY | FORM_BODY
NEED_RIGHT = {"introspect", "list_revocations"}


class Schema(dict[str, Any]):
    """A schema without warnings, and what the tests ask about it."""

    @property
    def operations(self) -> dict[str, dict[str, Any]]:
        return {
            one["operationId"]: one
            for methods in self["paths"].values()
            for one in methods.values()
        }

    @property
    def components(self) -> dict[str, Any]:
        found: dict[str, Any] = self["components"]["schemas"]
        return found

    def named(self, schema: dict[str, Any]) -> Any:
        return self.components[schema["$ref"].removeprefix("#/components/schemas/")]

    def request(self, operation_id: str) -> Any:
        ((_, content),) = self.operations[operation_id]["requestBody"]["content"].items()
        return self.named(content["schema"])

    def answer(self, operation_id: str, status: int = 200) -> Any:
        ((media_type, content),) = self.operations[operation_id]["responses"][str(status)][
            "content"
        ].items()
        assert media_type == "application/json"
        return self.named(content["schema"])


valid: set[str] = set()


@contextmanager
def openapis_own_schemas_unchecked() -> Iterator[None]:
    """Let a validation believe what OpenAPI publishes, or to check that takes most of the time."""
    with (
        patch("jsonschema.Draft4Validator.check_schema"),
        patch("jsonschema.Draft202012Validator.check_schema"),
    ):
        yield


def assert_valid(schema: dict[str, Any]) -> None:
    """Validate a schema, unless one that says the same was valid before."""
    text = json.dumps(schema, sort_keys=True, default=str)
    if text not in valid:
        with openapis_own_schemas_unchecked():
            validate_schema(schema)
        valid.add(text)


@pytest.fixture
def describe(settings: Any) -> Callable[..., Schema]:
    """Generate the schema of a project with these URLs, and with drf-spectacular's defaults."""

    def generate(*urlpatterns: Any, version: str | None = None, **given: Any) -> Schema:
        settings.ROOT_URLCONF = SimpleNamespace(urlpatterns=[*(urlpatterns or [tokens_urls])])
        with patched_settings({"SORT_OPERATIONS": True, "TAGS": [], **given}):
            made = SchemaGenerator(api_version=version).get_schema(request=None, public=True)
            assert not GENERATOR_STATS, "there were warnings"
            assert_valid(made)
        return Schema(made)

    return generate


def required(schema: dict[str, Any]) -> set[str]:
    return set(schema.get("required", []))


# Each operation


def test_every_endpoint_is_named_and_described(describe: Callable[..., Schema]) -> None:
    schema = describe()
    assert set(schema.operations) == {OPERATIONS[str(pattern.name)] for pattern in ours}
    for operation in schema.operations.values():
        assert operation["tags"] == ["tokens"]
        assert len(operation["summary"]) < 40
        assert len(operation["description"]) > 40
        assert all(answer["description"] for answer in operation["responses"].values())
    refusals = {
        one["responses"]["401"]["description"]
        for one in schema.operations.values()
        if "401" in one["responses"]
    }
    assert len(refusals) == len(JSON_BODY) + 1  # the others need a token in the same way


def test_every_answer_is_described(describe: Callable[..., Schema]) -> None:
    success = {"logout": "204", "end_session": "204"}
    for name, operation in describe().operations.items():
        expected = {success.get(name, "200"), "401", "429", "503"}
        expected |= {"400", "415"} if name in WITH_BODY else set()
        expected |= {"404"} if name in ("list_sessions", "end_session") else set()
        expected |= {"403"} if name in NEED_RIGHT else set()
        expected |= {"304", "400", "501"} if name == "list_revocations" else set()
        expected -= {"401"} if name == "revoke" else set()
        assert set(operation["responses"]) == expected
        assert list(operation["responses"]) == sorted(operation["responses"])


SPLIT = pytest.mark.parametrize("split", [False, True], ids=["together", "split"])


@SPLIT
@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_a_request_and_its_answer_are_components_of_their_own(
    describe: Callable[..., Schema], split: bool, version: str
) -> None:
    schema = describe(COMPONENT_SPLIT_REQUEST=split, OAS_VERSION=version)
    assert required(schema.request("login")) == {"username", "password"}
    assert required(schema.answer("login")) == {"access", "refresh"}
    assert required(schema.request("refresh")) == {"refresh"}
    assert required(schema.answer("refresh")) == {"access", "refresh"}
    assert required(schema.request("verify")) == {"token"}
    assert required(schema.request("blacklist")) == {"refresh"}
    assert required(schema.request("logout")) == set()
    assert set(schema.components) == {
        "PaginatedTokenSessionList",
        "TokenCursorErrors",
        "TokenIntrospection",
        "TokenOAuthError",
        "TokenParameterRequest",
        "TokenRevocations",
        "TokenBlacklistErrors",
        "TokenBlacklistRequest",
        "TokenError",
        "TokenErrorCode",
        "TokenErrorReason",
        "TokenLogoutErrors",
        "TokenLogoutRequest",
        "TokenObtainPair",
        "TokenObtainPairErrors",
        "TokenObtainPairRequest",
        "TokenRefresh",
        "TokenRefreshErrors",
        "TokenRefreshRequest",
        "TokenSession",
        "TokenSessionsEnded",
        "TokenVerifyErrors",
        "TokenVerifyRequest",
    }
    for name, component in schema.components.items():
        if not name.startswith("Paginated"):
            assert set(component.get("properties", {})) >= required(component)
    assert "readOnly" not in str(schema)
    assert "writeOnly" not in str(schema)


def test_each_body_has_one_content_type(describe: Callable[..., Schema]) -> None:
    operations = describe().operations
    for name in JSON_BODY:
        assert list(operations[name]["requestBody"]["content"]) == ["application/json"]
    for name in FORM_BODY:
        form = ["application/x-www-form-urlencoded"]
        assert list(operations[name]["requestBody"]["content"]) == form
    for name in set(operations) - WITH_BODY:
        assert "requestBody" not in operations[name]


class YAMLRenderer(JSONRenderer):
    media_type = "application/yaml"
    format = "yaml"


def test_a_project_with_more_renderers_answers_json(
    describe: Callable[..., Schema], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.TokenView, "renderer_classes", [YAMLRenderer, JSONRenderer])
    assert describe().answer("login")
    monkeypatch.setattr(views.TokenView, "renderer_classes", [YAMLRenderer])
    content = describe().operations["login"]["responses"]["200"]["content"]
    assert list(content) == ["application/yaml"]


def test_what_may_be_absent_is_optional(describe: Callable[..., Schema], settings: Any) -> None:
    metadata = {"ip_address", "user_agent", "device", "device_name"}
    assert required(describe().components["TokenSession"]) >= metadata
    settings.TOKENS_SESSION_METADATA = False
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ROTATE_REFRESH_TOKENS": False}
    schema = describe()
    session = schema.components["TokenSession"]
    assert required(session) == set(session["properties"]) - metadata
    assert required(schema.answer("refresh")) == {"access"}
    assert "refresh" in schema.answer("refresh")["properties"]


def test_a_session_has_a_uuid(describe: Callable[..., Schema]) -> None:
    schema = describe()
    (parameter,) = schema.operations["end_session"]["parameters"]
    assert (parameter["name"], parameter["in"]) == ("sid", "path")
    assert parameter["schema"]["format"] == "uuid"
    assert schema.components["TokenSession"]["properties"]["sid"]["format"] == "uuid"


def test_an_error_has_a_known_code(describe: Callable[..., Schema]) -> None:
    schema = describe()
    for name, operation in schema.operations.items():
        for status, answer in operation["responses"].items():
            if status >= "400":
                error = schema.answer(name, int(status))
                assert required(error) >= {"detail", "code"}
                (example,) = answer["content"]["application/json"]["examples"].values()
                assert set(example["value"]) <= set(error["properties"])
                assert status == "400" or example["value"]["code"] in CODES
    assert schema.components["TokenErrorCode"]["enum"] == sorted(CODES)
    assert schema.answer("refresh", 401)["properties"]["reason"]


def test_every_documented_code_is_known() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", section("## Endpoints"), re.MULTILINE)
    documented = {
        code for status, codes in rows if status != "400" for code in re.findall(r"`(\w+)`", codes)
    }
    assert documented
    assert documented <= set(CODES)


def test_an_answer_names_the_fields_that_are_wrong(describe: Callable[..., Schema]) -> None:
    errors = describe().answer("login", 400)["properties"]
    assert set(errors) == {
        "detail",
        "code",
        "username",
        "password",
        "device_name",
        "non_field_errors",
    }
    assert errors["password"] == {"type": "array", "items": {"type": "string"}}


def test_an_example_looks_like_the_real_thing(describe: Callable[..., Schema]) -> None:
    for name, component in describe().components.items():
        if name.endswith("Errors") or name == "TokenError":
            continue  # their answers have examples
        for field in component.get("properties", {}).values():
            if name in ("TokenIntrospection", "TokenRevocations", "TokenOAuthError"):
                continue
            plain = field.get("type") in ("string", "integer") and "enum" not in field
            assert not plain or "example" in field, (name, field)


def test_a_request_carries_its_token_in_a_header(describe: Callable[..., Schema]) -> None:
    schema = describe()
    assert schema["components"]["securitySchemes"] == {
        "jwtAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    for name, operation in schema.operations.items():
        if name == "logout":
            assert operation["security"] == [{"jwtAuth": []}, {}]
        elif name in WITH_BODY - NEED_RIGHT:
            assert "security" not in operation
        else:
            assert operation["security"] == [{"jwtAuth": []}]


def test_what_a_cookie_carries_is_optional(describe: Callable[..., Schema], settings: Any) -> None:
    settings.TOKENS_COOKIES = ("refresh", "access")
    schema = describe()
    assert required(schema.answer("login")) == set()
    assert required(schema.request("refresh")) == set()
    assert required(schema.request("login")) == {"username", "password"}
    for name, operation in schema.operations.items():
        takes_cookie = name not in {"verify", "revoke", "list_sessions"}
        assert ("403" in operation["responses"]) is takes_cookie, name


# What a project adds


class EmailLogin(TokenObtainPairSerializer):
    """An e-mail address instead of a name, and a second factor."""

    username_field = "email"
    code = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField(), required=False)
    user_id = serializers.IntegerField(read_only=True)


class EmailLoginView(views.TokenObtainPairView):
    """Log in with an e-mail address."""

    serializer_class = EmailLogin
    serializer_setting = None


@SPLIT
def test_a_serializer_of_the_project_shows(describe: Callable[..., Schema], split: bool) -> None:
    schema = describe(
        path("login/", EmailLoginView.as_view()), tokens_urls, COMPONENT_SPLIT_REQUEST=split
    )
    ids = [methods["post"]["operationId"] for methods in [schema["paths"]["/login/"]]]
    (name,) = ids
    assert required(schema.request(name)) == {"email", "password", "code"}
    assert set(schema.request(name)["properties"]) == {
        "email",
        "password",
        "code",
        "scopes",
        "device_name",
    }
    assert required(schema.answer(name)) == {"access", "refresh", "user_id"}
    assert schema.operations[name]["description"] == "Log in with an e-mail address."
    assert {"EmailLogin", "EmailLoginRequest", "EmailLoginErrors"} <= set(schema.components)
    errors = schema.answer(name, 400)["properties"]
    assert errors["code"] == {"description": "The messages, or that of the first one."}


def test_the_serializer_in_the_settings_shows(
    describe: Callable[..., Schema], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = f"{__name__}.EmailLogin"
    monkeypatch.setattr(views.api_settings, "TOKEN_OBTAIN_SERIALIZER", named)
    assert "email" in describe().request("login")["properties"]


def run_snippet(beginning: str) -> dict[str, Any]:
    """Return the names that a snippet of the how-to page defines."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(snippet("generate-clients", language="python", beginning=beginning, folder=HOWTO), names)  # noqa: S102
    return names


@pytest.mark.django_db
def test_the_serializer_of_the_howto_does_what_its_schema_says(
    describe: Callable[..., Schema], monkeypatch: pytest.MonkeyPatch, make_user: Any
) -> None:
    serializer = run_snippet("from rest_framework import serializers")["LoginSerializer"]
    monkeypatch.setattr(EmailLoginView, "serializer_class", serializer)
    url = path("login/", EmailLoginView.as_view())
    schema = describe(url)
    assert set(schema.request("login")["properties"]) == {
        "email",
        "password",
        "language",
        "device_name",
    }
    monkeypatch.setattr(serializer, "username_field", "username")
    user = make_user("ada")
    request = APIRequestFactory().post("/", {"username": "ada", "password": PASSWORD})
    answer = url.callback(request).data
    assert set(answer) == set(schema.answer("login")["properties"])
    assert answer["user_id"] == user.pk


def test_the_view_of_the_howto_has_our_errors(describe: Callable[..., Schema]) -> None:
    view = run_snippet("from drf_spectacular.utils import extend_schema")["BasketView"]
    schema = describe(path("basket/", view.as_view()), tokens_urls)
    (basket,) = schema["paths"]["/basket/"].values()
    assert set(basket["responses"]) == {"200", "401", "429", "503"}
    # Django REST framework's own errors have no code.
    assert required(schema.answer(basket["operationId"], 401)) == {"detail"}


def test_a_project_may_have_codes_of_its_own(describe: Callable[..., Schema]) -> None:
    given = run_snippet("SPECTACULAR_SETTINGS")["SPECTACULAR_SETTINGS"]
    schema = describe(**given)
    assert schema.components["TokenErrorCode"] == {"type": "string"}
    assert next(iter(schema["paths"])) == "/api/token/"


@extend_schema(tags=["account"], summary="Sign in")
class Annotated(EmailLoginView):
    @extend_schema(operation_id="sign_in", responses={200: EmailLogin, **ERRORS})
    def post(self, *args: Any, **kwargs: Any) -> Response:
        return super().post(*args, **kwargs)


@extend_schema_view(post=extend_schema(operation_id="sign_in", tags=["account"]))
class AnnotatedFromOutside(views.TokenObtainPairView):
    pass


def test_what_a_project_says_itself_wins(describe: Callable[..., Schema]) -> None:
    schema = describe(path("login/", Annotated.as_view()), tokens_urls)
    assert set(schema.operations) == {*OPERATIONS.values(), "sign_in"}
    signing_in = schema.operations["sign_in"]
    assert (signing_in["tags"], signing_in["summary"]) == (["account"], "Sign in")
    assert set(signing_in["responses"]) == {"200", "401", "429", "503"}
    schema = describe(path("login/", AnnotatedFromOutside.as_view()), tokens_urls)
    assert schema.operations["sign_in"]["tags"] == ["account"]
    assert schema.operations["sign_in"]["summary"] == schema.operations["login"]["summary"]


class ByView(AutoSchema):
    def get_operation_id(self) -> str:
        return f"{self.method.lower()}_{type(self.view).__name__}"

    def get_tags(self) -> list[str]:
        return ["all"]

    def get_extensions(self) -> dict[str, Any]:
        return {"x-stable": True}


def test_a_schema_class_of_the_project_adds_to_ours(
    describe: Callable[..., Schema], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "DEFAULT_SCHEMA_CLASS", ByView)
    monkeypatch.setattr(views.TokenView, "schema", ByView())
    login = describe().operations["login"]
    assert login["x-stable"] is True
    assert login["tags"] == ["tokens"]


def test_simplejwts_own_views_share_the_components(
    describe: Callable[..., Schema], settings: Any
) -> None:
    settings.TOKENS_PATCH_SIMPLEJWT = True
    theirs = [path("old/", PlainLogin.as_view()), path("old/refresh/", PlainRefresh.as_view())]
    schema = describe(*theirs, tokens_urls)
    for name, component in (("", "TokenObtainPair"), ("refresh/", "TokenRefresh")):
        operation = schema["paths"][f"/old/{name}"]["post"]
        body, answer = operation["requestBody"], operation["responses"]["200"]
        assert f"{component}Request'" in str(body)
        assert f"{component}'" in str(answer)


# Names that are taken


def own(name: str | None, **given: Any) -> Any:
    class Own(APIView):
        authentication_classes = given.pop("authentication_classes", [JWTAuthentication])

        @extend_schema(operation_id=name, request=None, responses={204: None}, **given)
        def post(self, request: Any) -> Response:
            return Response(status=204)

    return Own.as_view()


def test_urls_that_are_included_twice_have_two_names(describe: Callable[..., Schema]) -> None:
    schema = describe(
        path("api/v1/", include("tokens.urls")), path("api/v2/", include("tokens.urls"))
    )
    assert set(schema.operations) == {
        *OPERATIONS.values(),
        *(f"v2_{one}" for one in OPERATIONS.values()),
    }
    assert "v1" not in str(schema.operations["v2_login"])


def test_an_endpoint_that_stands_twice_below_itself_has_two_names(
    describe: Callable[..., Schema],
) -> None:
    schema = describe(path("api/", include([tokens_urls, *ours])))
    assert len(schema.operations) == 2 * len(OPERATIONS)
    assert set(OPERATIONS.values()) < set(schema.operations)


@pytest.mark.parametrize("where", ["a/", "z/"])
def test_a_name_of_the_project_stays_its_own(describe: Callable[..., Schema], where: str) -> None:
    schema = describe(path(where, own("login")), path("y/", own("refresh")), tokens_urls)
    ids = {url: one["operationId"] for url, ops in schema["paths"].items() for one in ops.values()}
    assert ids[f"/{where}"] == "login"
    assert ids["/y/"] == "refresh"
    assert ids["/api/token/"] == "tokens_login"
    assert ids["/api/logout/"] == "logout"


def test_names_that_begin_with_the_verb_stay_apart(describe: Callable[..., Schema]) -> None:
    class Sessions(APIView):
        @extend_schema(responses=serializers.ListSerializer(child=serializers.CharField()))
        def get(self, request: Any) -> Response:
            return Response([])

    urls = path("shop/sessions/", Sessions.as_view())
    schema = describe(
        urls, tokens_urls, OPERATION_ID_METHOD_POSITION="PRE", SCHEMA_PATH_PREFIX="/(shop|api)"
    )
    assert len(schema.operations) == len(OPERATIONS) + 1


def test_views_that_are_left_out_take_no_name(describe: Callable[..., Schema]) -> None:
    assert "login" in describe(path("a/", own("login", exclude=True)), tokens_urls).operations


def test_each_version_of_the_api_has_the_names(
    describe: Callable[..., Schema], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.TokenView, "versioning_class", URLPathVersioning)
    schema = describe(path("<str:version>/", include("tokens.urls")), version="v1")
    assert set(schema.operations) == set(OPERATIONS.values())
    assert "/v1/token/" in schema["paths"]
    monkeypatch.setattr(views.TokenView, "versioning_class", NamespaceVersioning)
    both = [path(f"{v}/", include(("tokens.urls", "auth"), namespace=v)) for v in ("v1", "v2")]
    schema = describe(*both, version="v2")
    assert set(schema.operations) == set(OPERATIONS.values())
    assert "/v2/token/" in schema["paths"]


class Stricter(JWTAuthentication):
    pass


def test_several_authentication_classes_are_one_scheme(describe: Callable[..., Schema]) -> None:
    for kind in (Stricter, PlainAuthentication):
        others = path("own/", own(None, authentication_classes=[kind]))
        for urls in ([others, tokens_urls], [tokens_urls, others]):
            schema = describe(*urls, SORT_OPERATIONS=False)
            assert list(schema["components"]["securitySchemes"]) == ["jwtAuth"]


class Coupon(serializers.Serializer[Any]):
    code = serializers.ChoiceField(["SPRING", "SUMMER"])


class Voucher(Coupon):
    pass


class Session(serializers.Serializer[Any]):
    name = serializers.CharField()


class Error(serializers.Serializer[Any]):
    message = serializers.CharField()


def test_components_of_the_project_keep_their_names(describe: Callable[..., Schema]) -> None:
    theirs = [
        path(f"{one.__name__}/", own_answer(one)) for one in (Coupon, Voucher, Session, Error)
    ]
    schema = describe(*theirs, tokens_urls)
    assert schema.components["CodeEnum"]["enum"] == ["SPRING", "SUMMER"]
    assert schema.components["Session"]["properties"] == {"name": {"type": "string"}}
    assert schema.components["Error"]["properties"] == {"message": {"type": "string"}}


def own_answer(serializer: Any) -> Any:
    class Own(APIView):
        @extend_schema(responses=serializer)
        def get(self, request: Any) -> Response:
            return Response({})

    return Own.as_view()
