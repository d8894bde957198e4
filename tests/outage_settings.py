"""The demo project as its users run it, with fast passwords and a view that reads no user."""

from project.settings import *  # noqa: F403
from project.settings import DATABASES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "tests.outage_urls"

# Shorter than the fault: to wait in vain is what is to be seen.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"]["timeout"] = 0.5
