"""A project with a table of its own that points to sessions."""

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.pointing"]
DATABASES["default"]["TEST"] = {"NAME": str(DATABASES["default"]["NAME"]) + "_pointing"}
