from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*(app for app in INSTALLED_APPS if app != "project"), "tests.custom_user"]
AUTH_USER_MODEL = "custom_user.User"
DATABASES["default"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
