"""What the schema says about each endpoint: the texts of ``endpoints``, and what a project changes.

A project's ``extend_schema`` on a subclass of a view, or on a method of it, wins. So do the
docstring and the serializer of the subclass.
"""

from typing import Any

from drf_spectacular.drainage import isolate_view_method
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance, get_doc, is_serializer
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.settings import api_settings

from ...conf import ACCESS, conf
from .. import browsers, cookie_schema
from ..views import SignedInView
from .bodies import name_of
from .endpoints import ENDPOINTS, Endpoint
from .errors import FORGED, RETRY_AFTER, THROTTLED, UNAVAILABLE, UNSUPPORTED, error, field_errors
from .names import choose


def described(view: Any) -> Any:
    """Return a view that stands for ``view`` in the schema."""
    known = next((one for one in view.__mro__ if one in ENDPOINTS), None)
    default: Any = api_settings.DEFAULT_SCHEMA_CLASS
    if known is None or not issubclass(default, AutoSchema):
        return view
    endpoint = ENDPOINTS[known]
    about = {"endpoint": endpoint, "known": known}

    def below(annotated: type) -> Any:
        # The project's annotations come first, and its schema class for all views last.
        bases = (annotated, Described, default)
        return type("TokenSchema", bases[issubclass(default, annotated) :], about)

    made: Any = type(view.__name__, (view,), dict(endpoint.overrides))
    cookie_schema.show(view, made)
    made.schema = below(type(view.schema))()
    for name in made.schema.method_mapping:
        if "schema" in getattr(getattr(view, name, None), "kwargs", {}):
            method = isolate_view_method(made, name)
            method.kwargs["schema"] = below(method.kwargs["schema"])
    return made


class Described(AutoSchema):
    """Answers drf-spectacular's questions about a view, unless the project does."""

    endpoint: Endpoint
    known: type

    def get_operation_id(self) -> str:
        return choose(self.endpoint.operation_id, self, otherwise=super().get_operation_id)

    def get_summary(self) -> str:
        return str(self.endpoint.summary)

    def get_description(self) -> str:  # type: ignore[override]
        own = type(self.view).__mro__
        if any(one.__doc__ for one in own[: own.index(self.known)]):
            return str(super().get_description())
        method = getattr(self.view, self.method.lower())
        return str(get_doc(method) or self.endpoint.description)

    def get_tags(self) -> list[str]:
        return ["tokens"]

    def get_auth(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = super().get_auth()
        return [*found, {}] if self.endpoint.token_is_optional and {} not in found else found

    def get_override_parameters(self) -> list[Any]:
        inherited = super().get_override_parameters()
        return [*self.endpoint.parameters, RETRY_AFTER, *inherited]

    def map_parsers(self) -> list[str]:
        # Of several types generators make clients that send the wrong one, or none that work.
        return only(self.endpoint.media_type, super().map_parsers())

    def map_renderers(self, attribute: str) -> list[str]:
        found: list[str] = super().map_renderers(attribute)
        return only("application/json", found) if attribute == "media_type" else found

    def get_request_serializer(self) -> Any:
        return self._get_serializer() if self.endpoint.has_body else None

    def get_response_serializers(self) -> Any:
        serializer = force_instance(self._get_serializer())
        answers: dict[int, Any] = {429: THROTTLED, 503: UNAVAILABLE}
        answers |= self.endpoint.answers or {200: self._answer(serializer)}
        if self.endpoint.has_body:
            answers |= {400: self._bad_request(serializer), 415: UNSUPPORTED}
        if self._takes_cookies():
            answers[403] = FORGED
        answers |= self.endpoint.errors
        return {status: answers[status] for status in sorted(answers)}

    def _takes_cookies(self) -> bool:
        if isinstance(self.view, browsers.UsesCookies):
            return bool(conf.TOKENS_COOKIES)
        is_unsafe = self.method not in SAFE_METHODS and isinstance(self.view, SignedInView)
        return is_unsafe and ACCESS in conf.TOKENS_COOKIES

    def _answer(self, serializer: Any) -> OpenApiResponse:
        body = type(serializer)(many=True) if self.endpoint.many else serializer
        return OpenApiResponse(body, self.endpoint.answer)

    def _bad_request(self, serializer: Any) -> Any:
        code, detail = self.endpoint.bad_request
        about: dict[str, Any] = {}
        if is_serializer(serializer) and isinstance(serializer, serializers.Serializer):
            about["body"] = field_errors(f"{name_of(serializer)}Errors", serializer)
            required = [name for name, field in serializer.fields.items() if field.required]
            about["more"] = {name: [detail] for name in required[:1]}
        return error(
            "The body is incomplete, or can't be decoded. Each field that is wrong has messages.",
            code=code,
            detail=detail,
            **about,
        )


def only(media_type: str, found: list[str]) -> list[str]:
    return [one for one in found if one == media_type] or found
