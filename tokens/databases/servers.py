"""What a server says of others that hold the same data. Most have none, and that is said here."""


class Servers:
    """The server that a connection leads to, as one of several."""

    def has_other_writers(self) -> bool:
        """Return whether other servers write, too, and don't wait for the locks of this one.

        May connect. Such servers refuse a commit only if both have written the same row. What each
        of them has committed, the other has when its own next commit returns.
        """
        return False

    def catch_up(self) -> bool:
        """Wait until this server has what the others had committed before; return whether it did.

        It did nothing if there are no others, or if each statement waits anyway.
        """
        return False

    def is_standby(self) -> bool:
        """Return whether the server follows another one, and so can't be written to."""
        return False

    def answers_late(self) -> bool:
        """Return whether the server may not know yet what others of its cluster have committed."""
        return False

    def has_unordered_writers(self) -> bool:
        """Return whether other servers write, too, and a commit tells nothing about theirs."""
        return False
