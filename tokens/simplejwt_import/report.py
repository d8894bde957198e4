"""What an import did, or would do."""

from dataclasses import dataclass


@dataclass(slots=True)
class Report:
    """What an import did, or would do. The JSON has the same names, so they are stable.

    ``read`` are blacklisted tokens: each is ``imported``, ``known`` (there was an entry, which is
    extended if it ends too early) or ``expired``. ``without_user`` of them name no user, or one
    that was deleted. ``sessions_ended`` went on from a blacklisted token, ``sessions_continued``
    got the token that an old server had made, and ``sessions_started`` are logins of simplejwt's.
    """

    dry_run: bool = False
    tables: bool = True
    read: int = 0
    imported: int = 0
    known: int = 0
    expired: int = 0
    without_user: int = 0
    sessions_ended: int = 0
    sessions_continued: int = 0
    sessions_started: int = 0

    def add(self, batch: "Report") -> None:
        """Count what a batch did."""
        self.read += batch.read
        self.imported += batch.imported
        self.known += batch.known
        self.expired += batch.expired
        self.without_user += batch.without_user
        self.sessions_ended += batch.sessions_ended
        self.sessions_continued += batch.sessions_continued
        self.sessions_started += batch.sessions_started
