"""What was revoked, row by row, for auditors: as CSV or JSON, in flat memory."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Q

from .. import clock, retry
from ..formats import Encoder
from ..querysets import BlacklistQuerySet

# In the order of the columns. The names are stable.
COLUMNS = {
    "revoked_at": "created_at",
    "scope": "scope",
    "subject": "subject",
    "user_id": "user_id",
    "reason": "reason",
    "by": "by",
    "note": "note",
    "device_name": "device_name",
    "user_agent": "user_agent",
    "ip_address": "ip_address",
    "by_user_agent": "by_user_agent",
    "by_ip_address": "by_ip_address",
    "issued_before": "issued_before",
    "needed_until": "expires_at",
    "key": "key",
}

BATCH = 1_000

Row = dict[str, Any]

# A spreadsheet takes a text that begins so for a formula, which a User-Agent must not be.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def batches(entries: BlacklistQuerySet) -> Iterator[list[Row]]:
    """Yield these entries, oldest first. What is written meanwhile may be missing."""
    # Not one long query: MariaDB's drivers would read all of its rows at once.
    last: Row | None = None
    while True:
        rows = entries if last is None else entries.filter(_after(last))
        found = retry.lost_races(list)(
            rows.order_by("created_at", "key").values(*COLUMNS.values())[:BATCH]
        )
        if not found:
            return
        last = found[-1]
        yield [{name: row[column] for name, column in COLUMNS.items()} for row in found]
        if len(found) < BATCH:
            return


def _after(row: Row) -> Q:
    """Return which entries come after ``row``."""
    same = Q(created_at=row["created_at"], key__gt=row["key"])
    return Q(created_at__gte=row["created_at"]) & (Q(created_at__gt=row["created_at"]) | same)


def as_csv(found: Iterator[list[Row]]) -> Iterator[str]:
    """Yield the text of a CSV file (RFC 4180, but for the ends of lines), in parts."""
    yield _csv([list(COLUMNS)])
    for rows in found:
        yield _csv([[_cell(value) for value in row.values()] for row in rows])


def as_json(found: Iterator[list[Row]]) -> Iterator[str]:
    """Yield the text of a JSON array, with an object on each line, in parts."""
    begins = "["
    for rows in found:
        yield "".join(
            f"{begins if number == 0 else ','}\n{json.dumps(row, cls=Encoder)}"
            for number, row in enumerate(rows)
        )
        begins = ","
    yield "[]\n" if begins == "[" else "\n]\n"


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return clock.aware(value).isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
