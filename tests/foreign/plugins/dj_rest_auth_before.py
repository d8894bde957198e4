"""dj-rest-auth's own settings of its suite, without the runner that writes XML."""

from tests.settings import *  # type: ignore[assignment]  # noqa: F403

TEST_RUNNER = "django.test.runner.DiscoverRunner"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a tenth of the time
