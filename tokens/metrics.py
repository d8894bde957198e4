"""Cleanup and cached checks for Prometheus. Needs the extra ``metrics``; only its users import it.

The cleanup's metrics are read from the database at each scrape. So every process of a site gives
the same answer, and the run of a command that has ended is seen as well as that of a server. Only
the process that makes cached checks knows about them.
"""

import os
from collections.abc import Iterator
from datetime import datetime

from django.db import Error, connections
from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from . import blacklist, clock, retry, snapshot
from .cleanup import BACKLOG_LIMIT, Outcome, Status, status
from .log import logger

__all__ = ["ChecksCollector", "CleanupCollector", "registry", "write_textfile"]

_PREFIX = "tokens_cleanup_"
_UP = "database_up"

# In the order in which they are shown: name, what it says, labels.
_METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    _UP: ("Whether the database could be read: 1 or 0; if not, nothing else is shown", ()),
    "overdue": ("Whether the cleanup is overdue: 1 or 0", ()),
    "last_success_timestamp_seconds": ("When the cleanup last succeeded", ()),
    "next_due_timestamp_seconds": ("When the cleanup is due", ()),
    "backlog_rows": (f"Expired rows that wait, counted up to {BACKLOG_LIMIT}", ()),
    "oldest_expired_timestamp_seconds": ("When the oldest row that waits expired", ()),
    "clock_difference_seconds": ("How far this host's clock is ahead of the database's", ()),
    "last_outcome": ("The newest run: 1 for its outcome, 0 for the others", ("outcome",)),
}


class CleanupCollector(Collector):
    """Reads the state at each scrape: ``REGISTRY.register(CleanupCollector())``.

    ``using`` is the alias of a database; default: where the blacklist is written. If the database
    can't be read, it shows ``tokens_cleanup_database_up 0`` and logs the error. It never raises:
    an exception would take the metrics of everybody else away.
    """

    def __init__(self, *, using: str | None = None) -> None:
        self._using = using

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the names, so that being registered asks no database."""
        return list(_families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what is known; a metric without a value is left out."""
        families = _families()
        try:
            samples = _read(self._using or blacklist.database())
        except Error as error:
            described = retry.describe(error)
            logger.error(
                "the metrics of the cleanup can't be read: %s",
                described,
                extra={"event": "metrics_failed", "error": described},
            )
            samples = [(_UP, (), 0)]
        for name, labels, value in samples:
            families[name].add_metric(labels, value)
        yield from (family for family in families.values() if family.samples)


class ChecksCollector(Collector):
    """Tells how the cached checks of this process do: ``REGISTRY.register(ChecksCollector())``.

    Each value has the label ``pid``, because a scrape reaches one of many processes, and counters
    of several would look like one that starts anew each time. Asks no database. ``using`` as in
    ``CleanupCollector``.
    """

    def __init__(self, *, using: str | None = None) -> None:
        self._using = using

    def collect(self) -> Iterator[Metric]:
        """Yield what ``snapshot.facts`` tells; the age is left out if there is none."""
        facts = snapshot.facts(using=self._using)
        labels, pid = ("pid",), (str(os.getpid()),)
        age = GaugeMetricFamily(
            "tokens_snapshot_age_seconds", "How old the snapshot is", labels=labels
        )
        if facts.age is not None:
            age.add_metric(pid, facts.age)
        size = GaugeMetricFamily(
            "tokens_snapshot_entries", "Entries in the snapshot", labels=labels
        )
        size.add_metric(pid, facts.size)
        loads = CounterMetricFamily(
            "tokens_snapshot_loads", "Snapshots that were loaded", labels=labels
        )
        loads.add_metric(pid, facts.loads)
        failures = CounterMetricFamily(
            "tokens_snapshot_failures", "Snapshots that could not be loaded", labels=labels
        )
        failures.add_metric(pid, facts.failures)
        checks = CounterMetricFamily(
            "tokens_checks",
            "Checks with TOKENS_CHECK_MAX_AGE: answered from the snapshot, or by the database,"
            " because no snapshot covers such a token or none was young enough",
            labels=("source", "pid"),
        )
        for source in ("from_snapshot", "not_covered", "without_snapshot"):
            checks.add_metric((source, *pid), getattr(facts, source))
        yield from (age, size, loads, failures, checks)


def registry(*, using: str | None = None) -> CollectorRegistry:
    """Return a registry with nothing but the cleanup's metrics."""
    own = CollectorRegistry()
    own.register(CleanupCollector(using=using))
    return own


def write_textfile(path: str, *, using: str | None = None) -> None:
    """Write the metrics for node_exporter's textfile collector, replacing the file at once.

    The directory must exist. Raises OSError if the file can't be written.
    """
    write_to_textfile(path, registry(using=using))


_Sample = tuple[str, tuple[str, ...], float]


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        name: GaugeMetricFamily(_PREFIX + name, text, labels=labels)
        for name, (text, labels) in _METRICS.items()
    }


def _read(using: str) -> list[_Sample]:
    """Return the samples; close the connection unless it was open before.

    A thread that serves one scrape and ends would not close it.
    """
    connection = connections[using]
    was_open = connection.connection is not None
    connection.close_if_unusable_or_obsolete()
    try:
        return [(_UP, (), 1), *_samples(status(using))]
    finally:
        if not was_open:
            connection.close()


def _samples(state: Status) -> Iterator[_Sample]:
    # Counting took too long: a number that is too small would look like a cleanup at work.
    uncounted = state.backlog_at_least and state.backlog < BACKLOG_LIMIT
    values: dict[str, float | None] = {
        "overdue": state.overdue,
        "last_success_timestamp_seconds": _seconds(state.last_success),
        "next_due_timestamp_seconds": _seconds(state.next_due),
        "backlog_rows": None if uncounted else state.backlog,
        "oldest_expired_timestamp_seconds": _seconds(state.oldest_expired),
        "clock_difference_seconds": state.clock_difference,
    }
    yield from ((name, (), value) for name, value in values.items() if value is not None)
    if state.last_outcome is not None:
        for outcome in Outcome.values:
            yield "last_outcome", (outcome,), outcome == state.last_outcome


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else clock.to_epoch(moment)
