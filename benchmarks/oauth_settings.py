"""The same project with the tokens of django-oauth-toolkit, which expire when they lie idle."""

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import INSTALLED_APPS, REST_FRAMEWORK

ROOT_URLCONF = "benchmarks.oauth_urls"
INSTALLED_APPS = [
    "oauth2_provider" if name == "tokens" else name
    for name in INSTALLED_APPS
    if name != "project"  # whose admin shows our sessions
]
REST_FRAMEWORK = REST_FRAMEWORK | {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "oauth2_provider.contrib.rest_framework.OAuth2Authentication"
    ],
}
OAUTH2_PROVIDER = {
    "REFRESH_TOKEN_EXPIRE_SECONDS": 86_400,
    # Its defaults, said here because they decide: rows in a batch, and no rest between two.
    "CLEAR_EXPIRED_TOKENS_BATCH_SIZE": 10_000,
    "CLEAR_EXPIRED_TOKENS_BATCH_INTERVAL": 0,
}
