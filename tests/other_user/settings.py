"""Another user model, and every claim under another name."""

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, SIMPLE_JWT

INSTALLED_APPS = [*(app for app in INSTALLED_APPS if app != "project"), "tests.other_user"]
AUTH_USER_MODEL = "other_user.User"
SIMPLE_JWT = SIMPLE_JWT | {
    "USER_ID_FIELD": "handle",
    "USER_ID_CLAIM": "uid",
    "JTI_CLAIM": "token_id",
    "ISSUER": "https://issuer.example",
    "AUDIENCE": "an-audience",
}
DATABASES["default"]["TEST"] = {"NAME": str(DATABASES["default"]["NAME"]) + "_other_user"}
