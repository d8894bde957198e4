"""simplejwt's serializers, with our token classes and the same answers.

A project that keeps simplejwt's views names these in ``SIMPLE_JWT`` (``TOKEN_OBTAIN_SERIALIZER``
and so on).
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework_simplejwt import serializers as base
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError
from rest_framework_simplejwt.settings import api_settings

from .. import retry, sessions
from ..conf import conf, simplejwt
from ..exceptions import PasswordChanged, TokenMalformed, TokenRevoked, UserInactive, UserUnknown
from ..jwt import AnyToken, LoginOutdated, RefreshToken, SlidingToken, caller_asks_about
from ..models import TokenSession
from ..origin import LONGEST_NAME, used_by
from .client import client_of
from .hiding import hide_secrets
from .reasons import explaining

if TYPE_CHECKING:
    Serializer = serializers.Serializer[Any]
else:
    Serializer = object  # a mixin, so that simplejwt's serializers stay the first to be asked


class AsksBlacklist(Serializer):
    """Mark the serializers that refuse revoked tokens and start sessions.

    They hide their passwords and tokens from error reports, also in the views of others.
    """

    @sensitive_variables()
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        hide_secrets((kwargs.get("context") or {}).get("request"))
        super().__init__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # Django REST framework's shows the data

    @sensitive_variables()
    def run_validation(self, *args: Any, **kwargs: Any) -> Any:
        return super().run_validation(*args, **kwargs)


class NamesDevice(AsksBlacklist):
    """A serializer that takes the name of a device, such as "Ada's phone", if a client sends one.

    A project that has a field of this name keeps its own.
    """

    @sensitive_variables()
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Here, as simplejwt adds the name and the password: the schema lists them first.
        if "device_name" not in self.fields:
            self.fields["device_name"] = serializers.CharField(
                max_length=LONGEST_NAME,
                required=False,
                allow_blank=True,
                write_only=True,
                help_text=gettext_lazy("What the user calls the device, for the list of sessions."),
            )

    def used_by_client(self, attrs: dict[str, Any]) -> AbstractContextManager[None]:
        """Return the context in which a session remembers the client of the request."""
        name = attrs.get("device_name")
        known = name if isinstance(name, str) else None
        return used_by(client_of(self.context.get("request"), device_name=known))


class TokenObtainSerializer(NamesDevice, base.TokenObtainSerializer):
    """Check the name and the password: the base of the serializers that log in."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """Log in; check the password again if the user has changed meanwhile.

        The change may be another login that gave the same password a better hash.
        """
        log_in = retry.lost_races(super().validate)
        with self.used_by_client(attrs):
            try:
                return log_in(attrs)
            except LoginOutdated:
                return log_in(attrs)


class TokenObtainPairSerializer(TokenObtainSerializer, base.TokenObtainPairSerializer):
    """Log in: return an access token and a refresh token of a new session."""

    token_class = RefreshToken


class TokenObtainSlidingSerializer(TokenObtainSerializer, base.TokenObtainSlidingSerializer):
    """Log in: return a sliding token."""

    token_class = SlidingToken


class TokenRefreshSlidingSerializer(AsksBlacklist, base.TokenRefreshSlidingSerializer):
    """Extend a sliding token; it keeps its jti."""

    token_class = SlidingToken

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        with explaining(attrs["token"], types=[self.token_class.token_type]):
            with caller_asks_about(attrs["token"]):
                token = self.token_class(attrs["token"])
            token.extend()
        return {"token": str(token)}


class TokenRefreshSerializer(NamesDevice, base.TokenRefreshSerializer):
    """Return a new access token and, with ROTATE_REFRESH_TOKENS, the next refresh token."""

    token_class = RefreshToken

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        with (
            self.used_by_client(attrs),
            explaining(attrs["refresh"], types=[self.token_class.token_type]),
        ):
            refresh = self._use(attrs["refresh"])
        data = {"access": str(refresh.access_token)}
        if simplejwt.ROTATE_REFRESH_TOKENS:
            data["refresh"] = str(refresh)
        return data

    @sensitive_variables()
    def _use(self, text: str) -> RefreshToken:
        with caller_asks_about(text):
            refresh = self.token_class(text)
        try:
            refresh.use(self.may_log_in)
        except (TokenMalformed, TokenRevoked) as error:
            raise TokenError(_(str(error))) from error
        except UserUnknown as error:
            raise AuthenticationFailed(str(error), code="user_not_found") from error
        except PasswordChanged as error:
            raise AuthenticationFailed(_(str(error)), code="password_changed") from error
        except UserInactive as error:
            raise AuthenticationFailed(
                str(self.error_messages["no_active_account"]), code="no_active_account"
            ) from error
        return refresh

    def may_log_in(self, user: AbstractBaseUser) -> bool:
        """Return whether simplejwt's USER_AUTHENTICATION_RULE lets the user in."""
        return bool(api_settings.USER_AUTHENTICATION_RULE(user))


class TokenVerifySerializer(AsksBlacklist, base.TokenVerifySerializer):
    """Check whether a token of any type would be accepted."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        with explaining(attrs["token"]):
            AnyToken(attrs["token"])
        return {}


class TokenBlacklistSerializer(AsksBlacklist, base.TokenBlacklistSerializer):
    """Log out with a refresh token. Repeating it gives the same answer."""

    token_class = RefreshToken

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        text = attrs["refresh"]
        with explaining(text, types=[self.token_class.token_type]), caller_asks_about(text):
            refresh = self.token_class(text)
        refresh.blacklist()
        return {}


class LogoutSerializer(serializers.Serializer[Any]):
    """A token of the login to end. The Authorization header can carry it instead."""

    refresh = serializers.CharField(required=False)


class SessionsEndedSerializer(serializers.Serializer[Any]):
    """How many sessions were ended."""

    sessions_ended = serializers.IntegerField(read_only=True)


class SessionSerializer(serializers.ModelSerializer[TokenSession]):
    """A session as its user sees it. Nothing in it can be used as a token."""

    device = serializers.SerializerMethodField()
    current = serializers.SerializerMethodField()

    class Meta:
        model = TokenSession
        fields = (
            "sid",
            "created_at",
            "last_used_at",
            "expires_at",
            "ip_address",
            "user_agent",
            "device",
            "device_name",
            "current",
        )
        read_only_fields = fields

    def get_device(self, session: TokenSession) -> str:
        """What people call the device, such as "Firefox on Windows"."""
        return sessions.device(session.user_agent)

    def get_current(self, session: TokenSession) -> bool:
        return str(session.sid) == self.context.get("current_sid")

    def to_representation(self, instance: TokenSession) -> dict[str, Any]:
        data: dict[str, Any] = super().to_representation(instance)
        if not conf.TOKENS_SESSION_METADATA:
            for name in ("ip_address", "user_agent", "device", "device_name"):
                del data[name]
        return data
