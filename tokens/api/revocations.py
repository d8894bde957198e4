"""Give other services the recent entries, so that they need not ask about each token."""

import hashlib
import json
import sys
from array import array
from base64 import b64encode
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import DetailDictMixin

from .. import blacklist, retry, snapshot
from ..conf import SESSION_CLAIM, conf, simplejwt
from .callers import CallerView

VERSION = 1


class NotSupported(DetailDictMixin, APIException):
    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_detail = _("This database has no feed.")  # type: ignore[assignment]
    default_code = "not_supported"


class RevocationsSerializer(serializers.Serializer[Any]):
    """What decides about young access tokens; docs/howto/other-services.md says how."""

    version = serializers.IntegerField()
    complete = serializers.BooleanField()
    now = serializers.FloatField()
    cursor = serializers.CharField()
    covers_from = serializers.IntegerField(allow_null=True)
    rules = serializers.DictField()
    users_from = serializers.IntegerField(allow_null=True)
    users = serializers.DictField(child=serializers.IntegerField())
    keys = serializers.CharField()


class RevocationsView(CallerView):
    """Give what was revoked lately, for services that can't ask about each token.

    With ``If-None-Match`` the answer is 304 if nothing has changed. With ``since``, the ``cursor``
    of the last answer, it has what was revoked since then.
    """

    http_method_names = ("get", "head", "options")
    serializer_class = RevocationsSerializer
    renderer_classes = (JSONRenderer,)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:  # noqa: FBT001, FBT002
        return super().perform_content_negotiation(request, force=True)

    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase | None:
        cursor = request.query_params.get("since")
        try:
            found = retry.lost_races(snapshot.publish)(cursor, using=blacklist.database())
        except snapshot.CursorInvalid as error:
            raise ValidationError({"since": [_("It is no cursor of this feed.")]}) from error
        except snapshot.NotPublished as error:
            raise NotSupported(str(error)) from error
        facts, keys = _facts(found), _bytes(found.keys)
        head = {
            "version": VERSION,
            "complete": found.is_complete,
            "now": found.now.timestamp(),
            "cursor": found.cursor,
            "covers_from": found.covers_from,
            "users_from": found.users_from,
            **facts,
        }
        body = f'{json.dumps(head)[:-1]}, "keys": "'.encode(), b64encode(keys), b'"}\n'
        response = HttpResponse(b"".join(body), content_type="application/json")
        if not found.is_complete:
            return response
        decisive = json.dumps([facts, found.users_from is None]).encode()
        digest = hashlib.sha256(decisive + keys).hexdigest()
        # Weak, because ``now`` and the beginning of what is covered move on.
        etag = f'W/"{digest[:32]}"'
        response.headers["ETag"] = etag
        return get_conditional_response(request._request, etag=etag, response=response)


def _facts(found: snapshot.Publication) -> dict[str, Any]:
    """Return all that decides about tokens but the keys and what only moves on."""
    longest = conf.TOKENS_LONGEST_LIFETIME
    return {
        "rules": {
            "access_lifetime": simplejwt.ACCESS_TOKEN_LIFETIME.total_seconds(),
            "longest_lifetime": longest and longest.total_seconds(),
            "issuer": simplejwt.ISSUER,
            "jti_claim": simplejwt.JTI_CLAIM,
            "type_claim": simplejwt.TOKEN_TYPE_CLAIM,
            "user_id_claim": simplejwt.USER_ID_CLAIM,
            "refresh_exp_claim": simplejwt.SLIDING_TOKEN_REFRESH_EXP_CLAIM,
            "session_claims": list(dict.fromkeys([conf.TOKENS_SESSION_CLAIM, SESSION_CLAIM])),
        },
        "users": {f"{key:016x}": until for key, until in sorted(found.users.items())},
    }


def _bytes(keys: "array[int]") -> bytes:
    """Return the keys with their first digits first, eight bytes each."""
    if sys.byteorder == "little":
        keys.byteswap()
    return keys.tobytes()
