"""The same project with simplejwt alone, which stores nothing."""

from benchmarks.simplejwt_settings import *  # noqa: F403
from benchmarks.simplejwt_settings import INSTALLED_APPS
from benchmarks.simplejwt_settings import SIMPLE_JWT as STORING

INSTALLED_APPS = [name for name in INSTALLED_APPS if not name.endswith("token_blacklist")]
SIMPLE_JWT = STORING | {"BLACKLIST_AFTER_ROTATION": False}
