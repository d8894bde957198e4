"""JSON for readers elsewhere: each moment says that it is UTC, with ``USE_TZ`` off too."""

from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from . import clock


class Encoder(DjangoJSONEncoder):
    """Django's, for which naive moments are local ones; ours never are."""

    def default(self, o: Any) -> Any:
        return super().default(clock.aware(o) if isinstance(o, datetime) else o)
