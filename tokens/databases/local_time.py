"""Clock times of a zone whose clocks are put back or forward.

In the hour that comes twice, two moments an hour apart are kept as the same clock time, and a later
one may be kept below an earlier one. These functions say what is known about such moments. The
"hour" is as long as the zone's clocks jump: half an hour on Lord Howe, two hours at Troll.
"""

from datetime import UTC, datetime, timedelta, tzinfo

_DAY = timedelta(days=1)
_NOTHING = timedelta(0)


def jumps(zone: tzinfo) -> bool:
    """Return whether the zone's clocks are put back or forward this year or in the next."""
    first = datetime(datetime.now(UTC).year, 1, 1, tzinfo=zone)
    return len({(first + day * _DAY).utcoffset() for day in range(2 * 366)}) > 1


class Written:
    """Aware moments are kept as the clock times of ``zone``, as Django does without time zones.

    Django reads a clock time that comes twice as the first of its two moments.
    """

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone

    def floor(self, moment: datetime) -> datetime:
        """Return the latest known moment below which nothing is kept from ``moment`` on.

        That is ``moment`` itself, unless its clock time will come a second time.
        """
        local = moment.astimezone(self.zone)
        return moment if local.fold else moment - _put_back(local)

    def meanings(self, moment: datetime) -> tuple[datetime, ...]:
        """Return the moments that one that was read may mean, the earliest first."""
        local = moment.astimezone(self.zone)
        if not _put_back(local):
            return (moment,)
        return tuple(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


class Taken:
    """Naive moments in UTC are taken for clock times of ``zone``, and kept as moments.

    A clock time that is skipped is kept as the one that follows as much later.
    """

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone

    def floor(self, moment: datetime) -> datetime:
        """Return the latest known moment below which nothing is kept from ``moment`` on."""
        return moment + min(_NOTHING, _put_back(moment.replace(tzinfo=self.zone)))

    def meanings(self, moment: datetime) -> tuple[datetime, ...]:
        """Return the moments that one that was read may mean, the earliest first."""
        local = moment.replace(tzinfo=self.zone)
        forward = _offset(local) - _offset(local - _DAY)
        if forward > _NOTHING and _put_back(local - forward) < _NOTHING:
            return (moment - forward, moment)
        return (moment,)


def _put_back(local: datetime) -> timedelta:
    """Return by how much the clocks are put back, so that this clock time comes twice.

    It is negative if they are put forward and skip this clock time, and mostly zero.
    """
    return _offset(local.replace(fold=0)) - _offset(local.replace(fold=1))


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or _NOTHING
