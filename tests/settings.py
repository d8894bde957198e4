"""The demo project's settings, made fit for tests: fast passwords, a real file for SQLite."""

import os
from pathlib import Path

from .without_tls import without_tls

os.environ["DEBUG"] = "1"
os.environ["SECRET_KEY"] = "a-secret-for-tests-only-that-is-long-enough-for-every-hmac-of-sha2"
os.environ.update(without_tls(os.environ))

from project.settings import *  # noqa: F403
from project.settings import BASE_DIR, DATABASES

HEALTH_CACHE_SECONDS = 0  # or a test would see the state of the one before
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Threads of a test must meet in the same database, which they do not in memory.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    (BASE_DIR / "var").mkdir(exist_ok=True)
    DATABASES["default"]["TEST"] = {
        "NAME": str(BASE_DIR / "var" / f"test_{Path(DATABASES['default']['NAME']).name}")
    }
    # No test pulls the plug, and to wait for the disk takes longer than most tests do.
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
    )
DATABASES["default"]["CONN_MAX_AGE"] = 0

# Django 6.1 wants a mailer to be named.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# Tests make tokens as plain simplejwt does. test_patching_simplejwt.py has the default.
TOKENS_PATCH_SIMPLEJWT = False
