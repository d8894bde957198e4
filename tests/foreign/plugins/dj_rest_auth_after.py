"""The settings of dj-rest-auth's suite with our app instead of simplejwt's."""

from dj_rest_auth_before import *  # noqa: F403
from dj_rest_auth_before import INSTALLED_APPS

INSTALLED_APPS = [
    *(one for one in INSTALLED_APPS if one != "rest_framework_simplejwt.token_blacklist"),
    "tokens",
    "tokens.contrib.dj_rest_auth",
]
