"""Where ``uuid7`` remembers the newest id, as module and name: Python's own, or the package's."""

import sys

from tokens.keys import uuid7

LAST_UUID7 = (
    sys.modules[uuid7.__module__],
    "_last_timestamp_v7" if sys.version_info >= (3, 14) else "_last_v7_timestamp",
)
