"""The two orders in which batches go through a table: which one, and where a batch starts."""

from enum import StrEnum
from typing import Any, NamedTuple

# Expired rows are counted up to here, which takes a small part of the time that deleting them does.
# So many are reason enough for physical order, however large the table is: one that does not fit
# into memory is read from beginning to end in less time than so many rows here and there.
COUNTED = 100_000

# In fewer rows than a few batches remove, there is nothing to gain.
FEW = 2_000

# How many times as many rows as it may delete a batch in physical order looks at, at most.
MOST_STRETCH = 64


class Order(StrEnum):
    """Physical order reads each page of a table once; the index finds few rows among many."""

    INDEX = "index"
    PHYSICAL = "physical"


class Position(NamedTuple):
    """Where a batch starts: by default at the beginning of the index on ``expires_at``.

    ``at`` is an ``expires_at``, or in physical order a place in the table; None is the first one.
    Physical order ends at ``last``, which was the last place when the run began. ``stretch`` is how
    many times as many rows a batch there looks at as it may delete. If it need not be ``exact``, it
    may delete some more than that.
    """

    order: Order = Order.INDEX
    at: Any = None
    last: Any = None
    stretch: int = 1
    exact: bool = True


class Batch(NamedTuple):
    """How many rows a batch removed, whether more may be left, and where the next one starts.

    Without ``reached`` it starts where this one did.
    """

    removed: int
    more: bool
    reached: Position | None = None


class Expired(NamedTuple):
    """What to delete: up to ``limit`` rows whose ``expires_at`` is before ``end``.

    Names are quoted, and values are as the database takes them.
    """

    table: str
    key: str
    end: Any
    limit: int = 0
    start: Position = Position()

    def done(self, removed: int, stop: Any) -> Batch:
        """Return the batch that ended before ``stop``, or at the end if that is None."""
        return Batch(removed, stop is not None, stop and self.start._replace(at=stop))

    def looked(self, removed: int, stop: Any) -> Batch:
        """Return the batch that found so many rows before ``stop``.

        In physical order the next one looks at more rows if this one found few among many.
        """
        stretch = self.start.stretch
        if removed > self.limit * 3 / 4:
            stretch = max(stretch // 2, 1)
        elif removed <= self.limit / 4 and self.start.order is Order.PHYSICAL:
            stretch = min(stretch * 2, MOST_STRETCH)
        return self._replace(start=self.start._replace(stretch=stretch)).done(removed, stop)

    def limited(self, removed: int, stop: Any) -> Batch:
        """Return what ``looked`` does, of a batch that may have ended earlier, at its limit.

        Then nobody knows where, and the next one looks at fewer rows from the same place on.
        """
        if removed == self.limit and self.start.stretch > 1:
            return Batch(removed, more=True, reached=self.start._replace(stretch=1))
        return self.looked(removed, stop)


class Part(NamedTuple):
    """Where the rows of a batch are: a condition, and the column by whose order they go.

    ``stop`` is the value of that column at which the next batch starts, and ``rest`` that of the
    first row which the condition leaves out. None if there is no such row.
    """

    condition: str
    values: list[Any]
    rank: str
    stop: Any
    rest: Any = None


class Sizes(NamedTuple):
    """How many rows have expired, up to COUNTED, and about how many there are.

    ``rows`` is None if nobody knows. ``last`` is the last place in physical order, None if there is
    no such order.
    """

    expired: int = 0
    rows: float | None = None
    last: Any = None


def first(sizes: Sizes, physical_from: float) -> Position:
    """Return where the first batch starts, if physical order is faster from this share on."""
    enough = COUNTED if sizes.rows is None else min(sizes.rows * physical_from, COUNTED)
    if sizes.last is None or sizes.expired < max(enough, FEW):
        return Position()
    return Position(Order.PHYSICAL, last=sizes.last)
