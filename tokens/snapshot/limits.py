"""How much the snapshot reads and remembers, and how long it waits."""

from dataclasses import dataclass

from ..conf import conf


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the snapshot of one database."""

    # The newest entries that a snapshot holds. Tokens issued before the oldest of them are left
    # to the database.
    entries: int = 1_000_000
    # Rows read at once: they decide the memory that reading takes, and how long others wait.
    slice: int = 10_000
    # This process's own revocations that a load may not have seen. If there are more, the snapshot
    # is put aside until the next load.
    own: int = 10_000
    # All recent entries are read again when they are this many times as old as reading them took.
    # Until then a load reads only what was made since.
    whole_every: float = 20
    # Seconds. An entry whose transaction was open for more than half of this gets a new
    # ``created_at`` after the commit.
    patience: float = 30.0
    # Seconds. One load that hangs holds up the others for no longer than this.
    longest_pause: float = 60.0

    def slack(self) -> float:
        """Return by how many seconds an entry may seem older than a token that it refuses.

        Clocks of hosts may differ, and a transaction may stay open unnoticed.
        """
        return conf.TOKENS_CLEANUP_MARGIN.total_seconds() + self.patience


LIMITS = Limits()
