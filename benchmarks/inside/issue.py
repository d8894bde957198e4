"""Log users in, and give their access tokens."""

from typing import Any

from django.contrib.auth import get_user_model

from tokens.jwt import RefreshToken


def main(count: int) -> dict[str, Any]:
    return {"tokens": access_tokens(count)}


def access_tokens(count: int) -> list[str]:
    """Return an access token of each of the first ``count`` users."""
    users = get_user_model()._default_manager.order_by("pk")[:count]
    return [str(RefreshToken.for_user(user).access_token) for user in users]
