"""Settings of the demo project. Values that differ per installation come from the environment."""

from datetime import timedelta
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def _seconds(name: str, default: timedelta) -> timedelta:
    return timedelta(seconds=env.float(name, default=default.total_seconds()))


DEBUG = env.bool("DEBUG", default=False)
# Who may read /metrics/. A proxy on this host makes everyone local: block /metrics/ in the proxy.
INTERNAL_IPS = env.list("INTERNAL_IPS", default=["127.0.0.1", "::1"])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])

_KNOWN_SECRET = "insecure-secret-for-debugging-only-do-not-use-it-anywhere-else"  # noqa: S105
SECRET_KEY = env.str("SECRET_KEY", default=_KNOWN_SECRET if DEBUG else "")
if not DEBUG and (len(SECRET_KEY) < 32 or SECRET_KEY == _KNOWN_SECRET):
    raise ImproperlyConfigured(
        "Set SECRET_KEY to at least 32 random characters; anyone who knows it can make tokens."
        " To try out the project, set DEBUG=1 instead."
    )
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_crontab",
    "tokens",
    "project",  # for project/admin.py
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "project" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {
    "default": env.db("DATABASE_URL", default="sqlite:///db.sqlite3")
    | {"ATOMIC_REQUESTS": env.bool("ATOMIC_REQUESTS", default=False)}
}
_KIND = DATABASES["default"]["ENGINE"].rpartition(".")[2]
_OPTIONS: dict[str, dict[str, object]] = {
    # Readers continue during a write, and writers wait for each other. A transaction takes the
    # write lock at its start, because taking it later fails at once instead of waiting.
    "sqlite3": {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    },
    # Give up after 5 seconds if the server does not accept a connection, and after 10 (here in
    # milliseconds) instead of 15 minutes if it vanishes during a query.
    "postgresql": {"connect_timeout": 5, "tcp_user_timeout": 10_000},
    "mysql": {"charset": "utf8mb4", "connect_timeout": 5},
}
# Options in the URL, such as "?connect_timeout=2", override these.
DATABASES["default"]["OPTIONS"] = _OPTIONS.get(_KIND, {}) | DATABASES["default"].get("OPTIONS", {})
if _KIND == "sqlite3":
    # cron runs jobs in the home directory, so make a relative name absolute.
    DATABASES["default"]["NAME"] = str(BASE_DIR / DATABASES["default"]["NAME"])
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tokens.api.authentication.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.ScopedRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"tokens": env.str("THROTTLE_RATE", default="") or None},
    "NUM_PROXIES": env.int("NUM_PROXIES", default=0),
}

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": _seconds("ACCESS_TOKEN_LIFETIME", timedelta(minutes=5)),
    "REFRESH_TOKEN_LIFETIME": _seconds("REFRESH_TOKEN_LIFETIME", timedelta(days=1)),
    "LEEWAY": env.float("LEEWAY", default=0),
    "ROTATE_REFRESH_TOKENS": True,
    "AUTH_TOKEN_CLASSES": ["tokens.jwt.AccessToken"],
    "TOKEN_OBTAIN_SERIALIZER": "tokens.api.serializers.TokenObtainPairSerializer",
    "TOKEN_REFRESH_SERIALIZER": "tokens.api.serializers.TokenRefreshSerializer",
    "TOKEN_VERIFY_SERIALIZER": "tokens.api.serializers.TokenVerifySerializer",
    "TOKEN_BLACKLIST_SERIALIZER": "tokens.api.serializers.TokenBlacklistSerializer",
    "SLIDING_TOKEN_OBTAIN_SERIALIZER": "tokens.api.serializers.TokenObtainSlidingSerializer",
    "SLIDING_TOKEN_REFRESH_SERIALIZER": "tokens.api.serializers.TokenRefreshSlidingSerializer",
}

TOKENS_CLEANUP_INTERVAL = _seconds("TOKENS_CLEANUP_INTERVAL", timedelta(hours=24))
TOKENS_CLEANUP_MARGIN = _seconds("TOKENS_CLEANUP_MARGIN", timedelta(minutes=5))
TOKENS_CHECK_MAX_AGE = _seconds("TOKENS_CHECK_MAX_AGE", timedelta(0))
TOKENS_COOKIES = env.tuple("TOKENS_COOKIES", default=())  # such as "refresh,access"

# A constant hourly tick; TOKENS_CLEANUP_INTERVAL decides whether a tick cleans up. So a changed
# interval does not change the hash by which django-crontab finds the job. Install the line with
# `manage.py crontab add -v0`; without -v0 the command may crash halfway if a job has changed.
CRONJOBS = [("7 * * * *", "tokens.schedule.crontab.tick")]
CRONTAB_DJANGO_PROJECT_NAME = env.str("CRONTAB_PROJECT_NAME", default="django-token-blacklist")
CRONTAB_DJANGO_SETTINGS_MODULE = "project.settings"
CRONTAB_DJANGO_MANAGE_PATH = str(BASE_DIR / "manage.py")

# Seconds for which /health/ may repeat that the cleanup is fine.
HEALTH_CACHE_SECONDS = 5

# An ASGI server cleans up by itself; see project/asgi.py. You can combine it with cron: only one
# run is active at a time, and only if one is due.
CLEANUP_IN_SERVER = env.bool("CLEANUP_IN_SERVER", default=True)

SPECTACULAR_SETTINGS = {
    "TITLE": "django-token-blacklist",
    "DESCRIPTION": "Log in, refresh and log out with revocable tokens.",
    "VERSION": "1",
    "TAGS": [
        {"name": "tokens", "description": "Log in and out, and see where you are logged in."},
        {"name": "me", "description": "An example of a view that needs a token."},
    ],
    "SORT_OPERATIONS": False,  # in the order of the URLs, so that logging in comes first
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="WARNING")},
}

if not DEBUG:
    SECURE_CONTENT_TYPE_NOSNIFF = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("HTTPS_ONLY", default=True)
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=False)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=0)
