"""Make the user that reads the feed; give a token that lasts for the whole measurement."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model

from tokens.jwt import AccessToken


def main() -> dict[str, Any]:
    user_model: Any = get_user_model()
    token = AccessToken.for_user(user_model.objects.create_superuser("reader"))
    token.set_exp(lifetime=timedelta(hours=2))
    return {"token": str(token)}
