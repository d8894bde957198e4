"""The demo project as the browser sees it, with the theme of the admin that THEME names."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, MIDDLEWARE

THEME = os.environ.get("THEME", "")
# Templates of the app in front win.
INSTALLED_APPS = [*([THEME] if THEME else []), "corsheaders", *INSTALLED_APPS]
MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *MIDDLEWARE]
if not THEME:
    # Themes bring scripts and styles of their own into the page; Django and we must not.
    MIDDLEWARE = ["tests.browser.policy.content_security_policy", *MIDDLEWARE]
LOGGING = {"version": 1, "disable_existing_loggers": False}
ROOT_URLCONF = "tests.browser.urls"
JAZZMIN_SETTINGS = {"use_google_fonts_cdn": False}
