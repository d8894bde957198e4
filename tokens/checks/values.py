"""Settings with invalid values, and unknown settings."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from ..conf import ACCESS, EVENTS, REFRESH, Conf, conf, simplejwt


@dataclass(frozen=True)
class _Rule:
    id: str
    must: str
    holds: Callable[[Any], bool]
    example: str


def _is_duration(value: Any) -> bool:
    return isinstance(value, timedelta) and value >= timedelta(0)


def _is_positive_duration(value: Any) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_match(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def _are_cookies(value: Any) -> bool:
    return not value or (REFRESH in value and all(one in (REFRESH, ACCESS) for one in value))


def _taken_claims() -> set[str | None]:
    """Return the names of the claims that simplejwt and RFC 7519 give a meaning."""
    return {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti"),
        simplejwt.JTI_CLAIM,
        simplejwt.TOKEN_TYPE_CLAIM,
        simplejwt.USER_ID_CLAIM,
        simplejwt.SLIDING_TOKEN_REFRESH_EXP_CLAIM,
        simplejwt_setting("REVOKE_TOKEN_CLAIM", "hash_password"),
    }


_DURATION = "a timedelta that is not negative"

RULES = {
    "TOKENS_CLEANUP_INTERVAL": _Rule(
        "tokens.E001", "a timedelta above zero", _is_positive_duration, "timedelta(hours=24)"
    ),
    "TOKENS_CLEANUP_MARGIN": _Rule("tokens.E002", _DURATION, _is_duration, "timedelta(minutes=5)"),
    "TOKENS_RETENTION": _Rule("tokens.E003", _DURATION, _is_duration, "timedelta(days=90)"),
    "TOKENS_CLEANUP_BATCH_SECONDS": _Rule(
        "tokens.E004", "a number above zero", lambda value: _is_number(value) and value > 0, "0.1"
    ),
    "TOKENS_ROTATION_GRACE": _Rule("tokens.E005", _DURATION, _is_duration, "timedelta(seconds=10)"),
    "TOKENS_SESSION_METADATA": _Rule(
        "tokens.E006", "True or False", lambda value: isinstance(value, bool), "True"
    ),
    "TOKENS_PATCH_SIMPLEJWT": _Rule(
        "tokens.E028", "True or False", lambda value: isinstance(value, bool), "True"
    ),
    "TOKENS_MAX_SESSIONS_PER_USER": _Rule(
        "tokens.E007",
        "None or a whole number above zero",
        lambda value: value is None or (type(value) is int and value > 0),
        "10",
    ),
    "TOKENS_REVOKE_ON": _Rule(
        "tokens.E008",
        f"a tuple of some of {', '.join(EVENTS)}",
        lambda value: isinstance(value, tuple | list | set) and set(value) <= set(EVENTS),
        '("password_change", "deactivation", "deletion")',
    ),
    "TOKENS_CHECK_MAX_AGE": _Rule("tokens.E009", _DURATION, _is_duration, "timedelta(seconds=1)"),
    "TOKENS_SESSION_CLAIM": _Rule(
        "tokens.E026",
        "the name of a claim that simplejwt does not use itself",
        lambda value: isinstance(value, str) and bool(value) and value not in _taken_claims(),
        '"sid"',
    ),
    "TOKENS_SESSION_MAX_AGE": _Rule(
        "tokens.E035",
        "None or a timedelta above zero",
        lambda value: value is None or _is_positive_duration(value),
        "timedelta(days=90)",
    ),
    "TOKENS_LONGEST_LIFETIME": _Rule(
        "tokens.E027",
        "None or a timedelta above zero",
        lambda value: value is None or _is_positive_duration(value),
        "timedelta(days=400)",
    ),
    "TOKENS_COOKIES": _Rule(
        "tokens.E040",
        '(), ("refresh",) or ("refresh", "access")',
        lambda value: isinstance(value, tuple | list | set) and _are_cookies(value),
        '("refresh",). The refresh token is worth more, so "access" can\'t be alone',
    ),
    "TOKENS_COOKIE_SAMESITE": _Rule(
        "tokens.E041",
        '"Lax" or "Strict", or "None" if TOKENS_COOKIE_SECURE is True',
        lambda value: (
            value in ("Lax", "Strict") or (value == "None" and conf.TOKENS_COOKIE_SECURE is True)
        ),
        '"Lax"',
    ),
    "TOKENS_COOKIE_SECURE": _Rule(
        "tokens.E042", "True or False", lambda value: isinstance(value, bool), "True"
    ),
    "TOKENS_COOKIE_DOMAIN": _Rule(
        "tokens.E043",
        "None or the name of a host",
        lambda value: value is None or _is_match(r"\.?[\w-]+(\.[\w-]+)*", value),
        '"example.com"',
    ),
    "TOKENS_COOKIE_PATH": _Rule(
        "tokens.E044",
        "None or a path that starts and ends with a slash",
        lambda value: value is None or _is_match(r"/([!-:<-~]*/)?", value),
        '"/api/"',
    ),
}


@register(Tags.security)
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error for each setting with an invalid value."""
    return [
        Error(
            f"{name} must be {rule.must}, not {getattr(conf, name)!r}.",
            hint=f"For example: {name} = {rule.example}",
            id=rule.id,
        )
        for name, rule in RULES.items()
        if not rule.holds(getattr(conf, name))
    ]


@register(Tags.security)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each setting that has our prefix but does not exist."""
    known = [name for name in vars(Conf) if name.startswith("TOKENS_")]
    unknown = [name for name in dir(settings) if name.startswith("TOKENS_") and name not in known]
    return [
        checks.Warning(
            f"{name} is not a setting of the tokens app, so it has no effect.",
            hint=f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(sorted(known))}.",
            id="tokens.W001",
        )
        for name in unknown
        for near in [get_close_matches(name, known, n=1)]
    ]


def simplejwt_setting(name: str, default: Any) -> Any:
    """Return the value of ``name`` in ``SIMPLE_JWT``, or ``default``."""
    return (getattr(settings, "SIMPLE_JWT", None) or {}).get(name, default)


@register(Tags.security)
def check_simplejwt(**kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with the simplejwt settings that we depend on."""
    messages: list[CheckMessage] = []
    leeway = simplejwt_setting("LEEWAY", 0)
    if leeway is not None and not _is_duration(leeway) and not (_is_number(leeway) and leeway >= 0):
        messages.append(
            Error(
                f'SIMPLE_JWT["LEEWAY"] must be seconds or a timedelta, not {leeway!r}.',
                hint="For example: 30. The cleanup keeps entries that much longer.",
                id="tokens.E010",
            )
        )
    if not simplejwt_setting("JTI_CLAIM", "jti"):
        messages.append(
            Error(
                'SIMPLE_JWT["JTI_CLAIM"] is empty, so tokens have no id to revoke them by.',
                hint='Remove it, or set it to "jti".',
                id="tokens.E011",
            )
        )
    messages += _lifetimes_beyond_the_longest()
    if simplejwt_setting("BLACKLIST_AFTER_ROTATION", default=False) and apps.is_installed(
        "rest_framework_simplejwt.token_blacklist"
    ):
        messages.append(
            checks.Warning(
                "BLACKLIST_AFTER_ROTATION writes to simplejwt's own blacklist app, which is"
                " still installed but which our token classes do not check.",
                hint="Remove rest_framework_simplejwt.token_blacklist from INSTALLED_APPS."
                " Rotation makes a refresh token unusable without it.",
                id="tokens.W010",
            )
        )
    return messages


def _lifetimes_beyond_the_longest() -> list[CheckMessage]:
    """Return a Warning for each lifetime with which a token without a session is refused."""
    longest = conf.TOKENS_LONGEST_LIFETIME
    if not _is_positive_duration(longest):
        return []
    defaults = {
        "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5),
        "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
        "SLIDING_TOKEN_LIFETIME": timedelta(minutes=5),
        "SLIDING_TOKEN_REFRESH_LIFETIME": timedelta(days=1),
    }
    lifetimes = {name: simplejwt_setting(name, defaults[name]) for name in defaults}
    return [
        checks.Warning(
            f'SIMPLE_JWT["{name}"] is longer than TOKENS_LONGEST_LIFETIME ({longest}), so a token'
            " without a session that lives so long is refused.",
            hint="Set TOKENS_LONGEST_LIFETIME to the longest time for which such a token may live.",
            id="tokens.W036",
        )
        for name, lifetime in lifetimes.items()
        if _is_duration(lifetime) and lifetime > longest
    ]
