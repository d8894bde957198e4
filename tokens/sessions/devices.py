"""Devices as people call them: "Firefox on Windows". Needs the extra ``devices``."""

import re
from functools import cache
from typing import Any

# What runs on a phone is the phone's, as people see it.
_FAMILIES = re.compile(r"^Mobile | Mobile(?: iOS| WebView)?$")
_SYSTEMS = {"Mac OS X": "macOS"}

# What native apps make requests with, if they don't say what they are called.
_OF_APPS = {"okhttp", "Dart", "CFNetwork", "Alamofire"}

# The product that a text names first (RFC 9110, section 10.1.5); these two say nothing.
_PRODUCT = re.compile(r"(?!Mozilla/|Dalvik/)([\w.-][\w .-]{0,40}?)/\d")


def device_of(row: Any) -> str:
    """Return the device of a session, or of the one that an entry ended; "" if it is not known.

    What its user calls it comes first.
    """
    found = device(row.user_agent)
    named = row.device_name
    return f"{named} ({found})" if named and found else named or found


@cache
def _parser() -> Any:
    # Not before it is needed: it takes 50 ms, and most processes name no device.
    try:
        from ua_parser import parse
    except ImportError:
        return None
    return parse


def device(user_agent: str) -> str:
    """Return what people call the client with this User-Agent, such as "Chrome on Android".

    Returns the text itself if it is not known, or if the package ``ua-parser`` is not installed.
    """
    if not user_agent or (parse := _parser()) is None:
        return user_agent
    found = parse(user_agent)
    system = _SYSTEMS.get(found.os.family, found.os.family) if found.os else None
    family = _FAMILIES.sub("", found.user_agent.family) if found.user_agent else None
    if family is None or family == system:
        product = _PRODUCT.match(user_agent)
        family = product[1] if product else None
    if family is None:
        return f"an app on {system}" if system else user_agent
    if system is None:
        return f"{family} (app)" if family in _OF_APPS else family
    return f"{family} on {system}"
