import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from tokens.schedule.lifespan import CleanupLifespan

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
# Before the settings are read. Each request has a thread of its own here, which would keep its
# connection although nobody uses it again. So the value in .env, for WSGI, does not count either.
os.environ.setdefault("CONN_MAX_AGE", "0")

_django = get_asgi_application()
application = CleanupLifespan(_django) if settings.CLEANUP_IN_SERVER else _django
