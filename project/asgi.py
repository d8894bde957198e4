import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from tokens.schedule.lifespan import CleanupLifespan

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
# Set this before Django reads the settings. Under ASGI each request runs in its own thread, which
# would keep a connection that no later request can use. So this also overrides the value in .env.
os.environ.setdefault("CONN_MAX_AGE", "0")

_django = get_asgi_application()
application = CleanupLifespan(_django) if settings.CLEANUP_IN_SERVER else _django
