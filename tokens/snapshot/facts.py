"""How the cached checks of this process do."""

from dataclasses import dataclass

from .snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Facts:
    """How the cached checks of this process do; the numbers count from its start."""

    age: float | None  # of the snapshot, in seconds; None without one
    size: int  # entries in the snapshot; those that are in two of its parts count twice
    loads: int
    failures: int  # loads that failed
    from_snapshot: int  # checks that the snapshot answered
    not_covered: int  # checks that it could not: old tokens, those without ``sid``, old entries
    without_snapshot: int  # checks that found no snapshot young enough


@dataclass(slots=True)
class Counters:
    """The numbers behind ``Facts``. Threads that count at the same moment may lose one."""

    loads: int = 0
    failures: int = 0
    from_snapshot: int = 0
    not_covered: int = 0
    without_snapshot: int = 0

    def facts(self, snapshot: Snapshot | None) -> Facts:
        return Facts(
            age=snapshot.start.age() if snapshot else None,
            size=snapshot.size if snapshot else 0,
            loads=self.loads,
            failures=self.failures,
            from_snapshot=self.from_snapshot,
            not_covered=self.not_covered,
            without_snapshot=self.without_snapshot,
        )
