"""The state machine of test_oracle finds faults that are planted into the app."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase

from tokens import blacklist, claims, entries, keys, sessions, snapshot
from tokens.cleanup import work
from tokens.conf import Conf
from tokens.models import BlacklistEntry
from tokens.querysets import SessionQuerySet
from tokens.snapshot import DatabaseSnapshot
from tokens.snapshot.snapshot import Snapshot

from .oracle import DAY, HOUR, SECOND
from .oracle_rules import biased
from .test_oracle import quiet, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quiet")]

TIME = ("wait", "wait_for_the_end")

Plant = Callable[[pytest.MonkeyPatch], None]


def the_cleanup_is_early(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(work, "cutoff_at", lambda now: now + timedelta(minutes=2))


def the_row_of_a_session_goes_with_its_refresh_token(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(SessionQuerySet, "kept_for", lambda _rows: timedelta(0))


def the_entry_of_a_user_is_lost(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(blacklist, "revoke_user", lambda *_args, **_more: None)


def the_entries_of_many_users_are_lost(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(blacklist, "revoke_users", lambda *_args, **_more: None)


def the_entry_of_a_user_ends_early(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(entries, "end_for_user", lambda before: before + timedelta(seconds=10))


def the_entry_of_a_session_is_lost(plant: pytest.MonkeyPatch) -> None:
    answer = BlacklistEntry(), True
    plant.setattr(blacklist, "revoke_session", lambda *_args, **_more: answer)


def the_grace_period_never_ends(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(Conf, "TOKENS_ROTATION_GRACE", timedelta(days=9999))


def a_process_forgets_its_own_revocations(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(snapshot, "note", lambda _fingerprints, **_more: None)


def an_event_loop_reads_what_was_put_aside(plant: pytest.MonkeyPatch) -> None:
    """Its own revocations are missing in what it reads."""
    real = Snapshot.of

    def at_once(self: DatabaseSnapshot, told: Any, _max_age: float) -> bool | None:
        last = self.current.last
        if last is None or told.sid is None or told.needs_session:
            return None
        return real(last, {}, slack=self.limits.slack()).refuses(told)

    plant.setattr(DatabaseSnapshot, "refuses_at_once", at_once)


def every_session_id_counts_as_ours(plant: pytest.MonkeyPatch) -> None:
    def is_sid(sid: Any) -> bool:
        return isinstance(sid, str) and keys.session_uuid(sid) is not None

    plant.setattr(claims, "is_sid", is_sid)


def a_token_without_a_session_is_used_twice(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(blacklist, "use_up", lambda *_args, **_more: None)


def a_tie_is_accepted(plant: pytest.MonkeyPatch) -> None:
    real = blacklist.revoke_user

    def earlier(*args: Any, **more: Any) -> Any:
        entry, created = real(*args, **more)
        second = entry.issued_before.replace(microsecond=0)  # type: ignore[union-attr]
        entry.issued_before = second - timedelta(seconds=1)
        entry.save()
        return entry, created

    plant.setattr(blacklist, "revoke_user", earlier)


def no_token_lives_too_long(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(Conf, "TOKENS_LONGEST_LIFETIME", None)


def a_login_goes_on_for_ever(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(Conf, "TOKENS_SESSION_MAX_AGE", None)


def a_login_is_remembered_until_its_first_refresh(plant: pytest.MonkeyPatch) -> None:
    plant.setattr(sessions, "lifetime_given", lambda _lives, _default: None)


# What these faults have nothing to do with; all of it takes longer to find them.
PLAIN = {
    "leeway": 0,
    "limit": None,
    "max_age": 0,
    "check_password": False,
    "patched": False,
    "session_limit": None,
}

# Each fault, and the machine that shows it: its rules, to be fast, and settings that are fixed.
FAULTS: dict[Plant, tuple[tuple[str, ...], dict[str, Any]]] = {
    the_cleanup_is_early: (("log_in", "log_out", "refresh", *TIME), {"margin": 0}),
    the_row_of_a_session_goes_with_its_refresh_token: (
        ("log_in", "log_out_everywhere_over_http", "change_user", *TIME),
        PLAIN | {"rotate": False, "refresh": 5 * SECOND, "access": HOUR, "margin": 0},
    ),
    the_entry_of_a_user_is_lost: ((), {}),
    the_entries_of_many_users_are_lost: (("make_by_simplejwt", "end_for_some"), PLAIN),
    the_entry_of_a_user_ends_early: (
        ("make_by_simplejwt", "revoke_many", "wait"),
        PLAIN | {"margin": 0, "refresh": DAY},
    ),
    the_entry_of_a_session_is_lost: ((), {}),
    the_grace_period_never_ends: (("log_in", "refresh", *TIME), PLAIN | {"rotate": True}),
    a_process_forgets_its_own_revocations: ((), {"max_age": SECOND}),
    an_event_loop_reads_what_was_put_aside: ((), {"max_age": SECOND}),
    every_session_id_counts_as_ours: ((), {}),
    a_token_without_a_session_is_used_twice: (
        ("make_by_simplejwt", "refresh"),
        {"rotate": True},
    ),
    a_tie_is_accepted: (("make_by_simplejwt", "revoke_many", *TIME), {}),
    no_token_lives_too_long: ((), {}),
    a_login_goes_on_for_ever: (
        ("log_in", "refresh", *TIME),
        PLAIN | {"session_limit": 120 * SECOND, "refresh": HOUR},
    ),
    a_login_is_remembered_until_its_first_refresh: (
        ("log_in_and_be_remembered", "refresh"),
        PLAIN | {"rotate": True},
    ),
}


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(fault: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, settings = FAULTS[fault]
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        run(
            biased(*rules, **settings),
            1000,
            phases=[Phase.generate],
            derandomize=True,
            report_multiple_bugs=False,
        )


__all__ = ["quiet"]
