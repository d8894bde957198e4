"""A user model that inherits its table's columns from a parent."""

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*(app for app in INSTALLED_APPS if app != "project"), "tests.family"]
AUTH_USER_MODEL = "family.Member"
DATABASES["default"]["TEST"] = {"NAME": str(DATABASES["default"]["NAME"]) + "_family"}
