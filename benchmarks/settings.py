"""The demo project as it is in production, with this app; ``DATABASE_URL`` names the database."""

import os

os.environ["DEBUG"] = "0"  # with it Django keeps the text of each statement
os.environ["SECRET_KEY"] = "a-secret-for-benchmarks-only-that-is-long-enough-for-hmac-of-sha2"

from project.settings import *  # noqa: F403
from project.settings import DATABASES, MIDDLEWARE

ROOT_URLCONF = "benchmarks.urls"
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("whitenoise.")]

# Logging in is never timed, and there are thousands of logins.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASES["default"]["ENGINE"].endswith("mysql"):
    DATABASES["default"]["OPTIONS"]["local_infile"] = True  # to fill tables fast
