"""The same project with simplejwt's own blacklist, stock classes, and rotation as it advises."""

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import INSTALLED_APPS, REST_FRAMEWORK
from benchmarks.settings import SIMPLE_JWT as OURS

ROOT_URLCONF = "benchmarks.simplejwt_urls"
INSTALLED_APPS = [
    "rest_framework_simplejwt.token_blacklist" if name == "tokens" else name
    for name in INSTALLED_APPS
    if name != "project"  # whose admin shows our sessions
]
REST_FRAMEWORK = REST_FRAMEWORK | {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
}
SIMPLE_JWT = {
    name: OURS[name] for name in ("ACCESS_TOKEN_LIFETIME", "REFRESH_TOKEN_LIFETIME", "LEEWAY")
} | {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True}
