import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from tokens.schedule.lifespan import CleanupLifespan

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

_django = get_asgi_application()
application = CleanupLifespan(_django) if settings.CLEANUP_IN_SERVER else _django
