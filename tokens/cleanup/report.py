"""What a run of the cleanup did."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Table = Literal["entries", "sessions", "runs"]


@dataclass(slots=True)
class Counts:
    """What a run has done so far. The report and the row of the run have fields of these names."""

    entries_removed: int = 0
    sessions_removed: int = 0
    runs_removed: int = 0
    batches: int = 0
    longest_batch: float = 0.0
    entries_order: str = ""
    sessions_order: str = ""

    def go_by(self, table: Table, order: str) -> None:
        """Note in which order the batches of a table go."""
        if table == "entries":
            self.entries_order = order
        else:
            self.sessions_order = order

    def add(self, table: Table, removed: int, seconds: float) -> None:
        """Count a batch that removed rows of one table."""
        match table:
            case "entries":
                self.entries_removed += removed
            case "sessions":
                self.sessions_removed += removed
            case "runs":
                self.runs_removed += removed
        self.batches += 1
        self.longest_batch = max(self.longest_batch, seconds)


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What a run did. The names of the fields are stable: keys of the JSON, fields in the log."""

    outcome: str
    skipped: str | None = None
    stopped: str | None = None
    entries_removed: int = 0
    sessions_removed: int = 0
    runs_removed: int = 0
    batches: int = 0
    longest_batch: float = 0.0
    entries_order: str = ""
    sessions_order: str = ""
    seconds: float = 0.0
    started_at: datetime | None = None
    cutoff: datetime | None = None
    error: str | None = None
    run_id: int | None = None
    trigger: str = "command"

    @property
    def removed(self) -> int:
        """How many entries and sessions went; records of old runs are not counted."""
        return self.entries_removed + self.sessions_removed
