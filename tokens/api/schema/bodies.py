"""What clients send and what they get: a component for each, also without COMPONENT_SPLIT_REQUEST.

Fields that a project adds to a subclass of our serializers are sent, and those that are read-only
are in the answer.
"""

from collections.abc import Callable
from typing import Any

from drf_spectacular.drainage import get_override
from drf_spectacular.settings import spectacular_settings
from rest_framework import serializers

from ...conf import conf, simplejwt
from .. import serializers as ours

Schema = dict[str, Any]

ACCESS = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoiYWNjZXNzIn0.c2lnbmF0dXJl"
REFRESH = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"
SID = "0192f0c1-6a5e-7c3b-9d2f-4b8e1a6c0d37"
EXAMPLES = {
    "access": ACCESS,
    "created_at": "2030-01-31T08:30:00Z",
    "device": "Firefox on Windows",
    "device_name": "Ada's laptop",
    "email": "ada@example.com",
    "expires_at": "2030-02-01T09:15:00Z",
    "ip_address": "203.0.113.7",
    "last_used_at": "2030-01-31T09:15:00Z",
    "password": "correct horse battery staple",
    "refresh": REFRESH,
    "sessions_ended": 2,
    "sid": SID,
    "token": ACCESS,
    "token_type_hint": "refresh_token",
    "user_agent": "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0",
    "username": "ada",
}


def _token(help_text: str, *, required: bool = True) -> Any:
    return serializers.CharField(help_text=help_text, required=required)


def _access() -> Any:
    return _token("Send it in the Authorization header: `Authorization: Bearer …`.")


def _pair() -> dict[str, Any]:
    return {"access": _access(), "refresh": _token("Exchange it once for new tokens.")}


def _refreshed() -> dict[str, Any]:
    return {
        "access": _access(),
        "refresh": _token(
            "The next refresh token: keep it instead of the one that you sent, which is used up."
            " Only if the service rotates refresh tokens.",
            required=simplejwt.ROTATE_REFRESH_TOKENS,
        ),
    }


def _sliding() -> dict[str, Any]:
    return {"token": _token("A sliding token.")}


# The fields of answers that are not declared in the serializer.
ANSWERS: dict[type, Callable[[], dict[str, Any]]] = {
    ours.TokenObtainPairSerializer: _pair,
    ours.TokenObtainSlidingSerializer: _sliding,
    ours.TokenRefreshSerializer: _refreshed,
    ours.TokenRefreshSlidingSerializer: _sliding,
}


def name_of(serializer: Any) -> str:
    """Return the name of the component of its answer. Our names begin with "Token"."""
    cls = type(serializer)
    name: str = get_override(cls, "component_name") or cls.__name__.removesuffix("Serializer")
    is_ours = cls.__module__.startswith("tokens.api.")
    return f"Token{name}" if is_ours and not name.startswith("Token") else name


def component_name(serializer: Any, direction: str) -> str:
    """Return the name of a component: the second one begins with the first if it is a request."""
    # drf-spectacular adds "Request" itself if it splits all components.
    apart = direction == "request" and not spectacular_settings.COMPONENT_SPLIT_REQUEST
    return name_of(serializer) + ("Request" if apart else "")


def component(serializer: Any, auto_schema: Any, direction: Any) -> Schema:
    """Return the schema of what is sent, or of the answer."""
    schema: Schema = auto_schema._map_serializer(serializer, direction, bypass_extensions=True)
    answer = _answer(serializer, auto_schema) if direction == "response" else None
    unwanted = "readOnly" if direction == "request" else "writeOnly"
    declared = {
        name: field
        for name, field in schema.get("properties", {}).items()
        if not (field.get(unwanted) or (answer is not None and not field.get("readOnly")))
    }
    required = set(schema.get("required", [])) & set(declared)
    if answer is not None:
        declared = answer["properties"] | declared | answer["properties"]
        required |= set(answer.get("required", []))
    if isinstance(serializer, ours.SessionSerializer) and not conf.TOKENS_SESSION_METADATA:
        required -= {"ip_address", "user_agent", "device", "device_name"}
    required -= set(conf.TOKENS_COOKIES)
    if type(serializer).__module__ == ours.__name__:
        schema.pop("description", None)  # what the view does is said there
    schema |= {"properties": _with_examples(declared), "required": sorted(required)}
    return {key: value for key, value in schema.items() if value != []}


def _answer(serializer: Any, auto_schema: Any) -> Schema | None:
    """Return what is in the answer beside read-only fields; None if all of it is declared."""
    found = next((ANSWERS[one] for one in type(serializer).__mro__ if one in ANSWERS), None)
    if found is None:
        return None
    declared = type("Answer", (serializers.Serializer,), found())
    mapped: Schema = auto_schema._map_serializer(declared, "response")
    return mapped


def _with_examples(properties: Schema) -> Schema:
    """Add examples, and remove what the name of the component says already."""
    for name, field in properties.items():
        for key in ("readOnly", "writeOnly"):
            field.pop(key, None)
        if name in EXAMPLES and not {"$ref", "allOf", "default", "enum"} & set(field):
            field.setdefault("example", EXAMPLES[name])
    return properties
