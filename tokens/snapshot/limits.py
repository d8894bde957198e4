"""How much the snapshot reads and remembers, and how long it waits."""

from dataclasses import dataclass

from ..conf import conf


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the snapshot of one database."""

    # The newest entries that a snapshot holds. Tokens issued before the oldest of them are left
    # to the database.
    entries: int = 1_750_000
    # Entries in one set: a quarter of a million take 4 MB. A larger one takes longer to build.
    part: int = 1 << 18
    # Rows read at once: they decide the memory that reading takes, and how long others wait. If a
    # load has read more, the next one keeps them, and reads only what was made since.
    slice: int = 10_000
    # This process's own revocations that a load may not have seen. If there are more, the snapshot
    # is put aside until the next load.
    own: int = 10_000
    # Users in an answer to readers of the feed whose tokens without a session are refused. If more
    # were lately, such tokens are decided only if they were issued after that.
    users: int = 1_000
    # Seconds. An entry whose transaction was open for more than half of this gets a new
    # ``created_at`` after the commit. So what was made earlier has been committed.
    patience: float = 5.0
    # Seconds. One load that hangs holds up the others for no longer than this.
    longest_pause: float = 60.0

    def slack(self) -> float:
        """Return by how many seconds an entry may seem older than a token that it refuses.

        Hosts' clocks may differ from the database's, and a transaction may stay open unnoticed.
        """
        return conf.TOKENS_CLEANUP_MARGIN.total_seconds() + self.patience


LIMITS = Limits()
