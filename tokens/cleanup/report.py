"""What a run of the cleanup did, for everybody who wants to know."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What a run did. The names of the fields are stable: keys of the JSON, fields in the log.

    ``oldest_left`` is the earliest end of a row that a run which ended early left to the next one,
    ``rows_left`` how many it left, if that was counted.
    """

    outcome: str
    skipped: str | None = None
    stopped: str | None = None
    entries_removed: int = 0
    sessions_removed: int = 0
    runs_removed: int = 0
    batches: int = 0
    longest_batch: float = 0.0
    seconds: float = 0.0
    started_at: datetime | None = None
    cutoff: datetime | None = None
    error: str | None = None
    oldest_left: datetime | None = None
    rows_left: int | None = None
    run_id: int | None = None
    trigger: str = "command"

    @property
    def removed(self) -> int:
        """How many entries and sessions went; records of old runs are not counted."""
        return self.entries_removed + self.sessions_removed
