"""Quoting for Python and for YAML."""

import json


def literal(value: str | float | list[str] | dict[str, str | float]) -> str:
    """Return the value as JSON, which Python and YAML read as well.

    Letters stay as they are, because YAML does not know JSON's escaped surrogates.
    """
    return json.dumps(value, ensure_ascii=False)
