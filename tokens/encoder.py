"""JSON for other programs: each moment says that it is UTC, even if ``USE_TZ`` is off."""

from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from . import clock


class Encoder(DjangoJSONEncoder):
    """Django's encoder, but naive moments are UTC, as in our tables."""

    def default(self, o: Any) -> Any:
        return super().default(clock.aware(o) if isinstance(o, datetime) else o)
