"""What drf-spectacular can't find out about the endpoints. Imported only if it is installed.

Importing this package registers the extensions. A new endpoint is an entry in ``endpoints``; if
its answer is more than its serializer's fields, also one in ``bodies``.

``ERRORS`` has the answers of every view that needs a token, for ``extend_schema`` of views of your
own.
"""

from . import extensions
from .errors import REFUSED, THROTTLED, UNAVAILABLE, of_any_view

ERRORS = {
    401: of_any_view(REFUSED),
    429: of_any_view(THROTTLED),
    503: of_any_view(UNAVAILABLE),
}

__all__ = ["ERRORS", "extensions"]
