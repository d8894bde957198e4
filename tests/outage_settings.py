"""The demo project as its users run it, with fast passwords and a view that reads no user."""

from project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "tests.outage_urls"
