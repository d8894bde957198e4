"""The endpoints, for those who write clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from .. import introspection, revocation, revocations, views
from .bodies import SID
from .errors import (
    NO_RIGHT,
    REFUSED,
    TokenCursorErrorsSerializer,
    TokenOAuthErrorSerializer,
    error,
)


@dataclass(frozen=True)
class Endpoint:
    """One operation.

    Without ``answers``, the answer is 200 with the serializer's component, or a page of these if
    there are ``many``. All operations have the answers 429 and 503, and those with a body 400 and
    415. ``overrides`` are attributes of the view that the schema is made of.
    """

    operation_id: str
    summary: str
    description: str
    answer: str = ""
    answers: Mapping[int, Any] | None = None
    errors: dict[int, Any] = field(default_factory=dict)
    has_body: bool = False
    many: bool = False
    media_type: str = "application/json"
    parameters: tuple[OpenApiParameter, ...] = ()
    token_is_optional: bool = False
    bad_request: tuple[str, str] = ("required", "This field is required.")
    overrides: dict[str, Any] = field(default_factory=dict)


def _refused(description: str, *, code: str = "token_not_valid", detail: str) -> dict[int, Any]:
    return {401: error(description, code=code, detail=detail)}


_FORM = "application/x-www-form-urlencoded"
_BAD_PARAMETER = error(
    "The token is missing, stands there twice, or is of a type that can't be revoked.",
    code="invalid_request",
    detail="Send the token once, as the parameter token.",
    body=TokenOAuthErrorSerializer,
    more={"error": "invalid_request"},
)
_EMPTY = OpenApiResponse(OpenApiTypes.OBJECT, "An empty object.")
_OTHER_TOKENS = (
    " Tokens without a session, such as those of plain simplejwt, can't be told apart: all are"
    " refused from now on."
)


ENDPOINTS: dict[type, Endpoint] = {
    views.TokenObtainPairView: Endpoint(
        "login",
        "Log in",
        "Start a session with a user name and a password. The access token opens the API for some"
        " minutes. Before it expires, exchange the refresh token for new ones.",
        answer="The tokens of a new session.",
        has_body=True,
        errors=_refused(
            "Wrong user name or password, or the account is not active.",
            code="no_active_account",
            detail="No active account found with the given credentials",
        ),
    ),
    views.TokenRefreshView: Endpoint(
        "refresh",
        "Get new tokens",
        "Exchange a refresh token for a new access token and, if the service rotates refresh"
        " tokens, for the next refresh token. Then the one that you sent is used up: store the new"
        " one before you go on. If a used token is sent again, the session ends, because somebody"
        " may have stolen it.",
        answer="The new tokens.",
        has_body=True,
        errors=_refused(
            "The refresh token is not accepted: it has expired, was revoked or used before, or is"
            " forged, or the user may not log in any more. Log in again.",
            detail="Token is blacklisted",
        ),
    ),
    views.TokenVerifyView: Endpoint(
        "verify",
        "Check a token",
        "Find out whether a token of any type would be accepted now.",
        answers={200: _EMPTY},
        has_body=True,
        errors=_refused(
            "The token would not be accepted: it has expired, was revoked or is forged.",
            detail="Token is blacklisted",
        ),
    ),
    views.TokenBlacklistView: Endpoint(
        "blacklist",
        "Log out with a refresh token",
        "End the session of a refresh token, as the endpoint of the same name in simplejwt does."
        " Repeating it gives the same answer. New clients use `logout`, which also takes tokens"
        " that have expired.",
        answers={200: _EMPTY},
        has_body=True,
        errors=_refused(
            "The refresh token has expired or is forged.", detail="Token is invalid or expired"
        ),
    ),
    views.LogoutView: Endpoint(
        "logout",
        "Log out here",
        "End the session that a token belongs to. Send its refresh token in the body, or a token"
        " in the Authorization header. The token may have expired, and repeating it gives the same"
        " answer.",
        answers={204: OpenApiResponse(description="Logged out, now or earlier.")},
        has_body=True,
        token_is_optional=True,
        bad_request=(
            "token_required",
            "Send a refresh token in the body or a token in the Authorization header.",
        ),
        errors=_refused(
            "The token is forged, or of the wrong type.", detail="Token is invalid or expired"
        ),
    ),
    views.LogoutAllView: Endpoint(
        "logout_all",
        "Log out everywhere",
        "End all sessions of the user, including the one of this request." + _OTHER_TOKENS,
        answer="How many sessions were ended.",
        errors={401: REFUSED},
    ),
    views.LogoutOthersView: Endpoint(
        "logout_others",
        "Log out everywhere else",
        "End all sessions of the user except the one of this request." + _OTHER_TOKENS,
        answer="How many sessions were ended.",
        errors={401: REFUSED},
    ),
    views.SessionListView: Endpoint(
        "list_sessions",
        "List the sessions",
        "List where the user is logged in, most recently used first. `current` marks the session of"
        " this request.",
        answer="A page of sessions.",
        many=True,
        errors={
            401: REFUSED,
            404: error("There is no such page.", code="not_found", detail="Invalid page."),
        },
    ),
    views.SessionDetailView: Endpoint(
        "end_session",
        "End a session",
        "Log out one of the user's devices. Its tokens are refused from now on.",
        answers={204: OpenApiResponse(description="The session has ended.")},
        parameters=(
            OpenApiParameter(
                "sid",
                {"type": "string", "format": "uuid", "example": SID},
                OpenApiParameter.PATH,
                description="The `sid` of a session from the list.",
            ),
        ),
        errors={
            401: REFUSED,
            404: error(
                "The user has no such session.", code="not_found", detail="No such session."
            ),
        },
    ),
    introspection.IntrospectView: Endpoint(
        "introspect",
        "Ask about a token",
        "Tell whether a token is accepted now, by a request or by a refresh (RFC 7662). Check"
        " `token_type`: a refresh token is active until it is used.",
        answers={
            200: OpenApiResponse(
                introspection.IntrospectionSerializer,
                "What is known about the token. If it is not `active`, nothing else.",
            )
        },
        has_body=True,
        media_type=_FORM,
        errors={400: _BAD_PARAMETER, 401: REFUSED, 403: NO_RIGHT},
    ),
    revocation.RevokeView: Endpoint(
        "revoke",
        "Revoke a token",
        "End the session of a token, as logging out does (RFC 7009). Whoever has the token may do"
        " it, even if it has expired. The answer is the same for tokens that are unknown or revoked"
        " already.",
        answers={200: OpenApiResponse(description="The token is not accepted any more.")},
        has_body=True,
        media_type=_FORM,
        errors={400: _BAD_PARAMETER},
    ),
    revocations.RevocationsView: Endpoint(
        "list_revocations",
        "Read what was revoked",
        "What was revoked lately, for services that can't ask about each token. With"
        " `If-None-Match` the answer is 304 if nothing has changed; with `since`, it has what was"
        " revoked since then.",
        answer="Fingerprints of what was revoked.",
        parameters=(
            OpenApiParameter("since", str, description="The `cursor` of an earlier answer."),
            OpenApiParameter(
                "If-None-Match", str, OpenApiParameter.HEADER, description="An `ETag`."
            ),
        ),
        errors={
            304: OpenApiResponse(description="Nothing has changed."),
            400: error(
                "`since` is no cursor.",
                code="invalid",
                detail="It is no cursor of this feed.",
                body=TokenCursorErrorsSerializer,
            ),
            401: REFUSED,
            403: NO_RIGHT,
            501: error(
                "The database has no feed.",
                code="not_supported",
                detail="This database has no feed.",
            ),
        },
    ),
}
