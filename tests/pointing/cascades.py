"""Run by tests/test_cleanup_faults.py with the settings beside it."""

import pytest

from tests.expiring import IN_A_WHILE, add_entries, add_sessions
from tests.pointing.models import Device
from tokens import cleanup
from tokens.cleanup import batches
from tokens.models import BlacklistEntry, TokenSession

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_points_to_a_session_goes_with_it_in_batches() -> None:
    add_entries(3)
    add_sessions(5)
    add_sessions(2, ends=IN_A_WHILE)
    for session in TokenSession.objects.all():
        Device.objects.create(session=session)
    report = cleanup.run(batch_size=2)
    assert (report.outcome, report.sessions_removed, report.entries_removed) == ("succeeded", 5, 3)
    left = set(TokenSession.objects.values_list("pk", flat=True))
    assert set(Device.objects.values_list("session_id", flat=True)) == left
    assert len(left) == 2


def test_only_the_table_that_is_pointed_to_is_deleted_slowly() -> None:
    assert batches.deletes_instances(TokenSession.objects.all())
    assert not batches.deletes_instances(BlacklistEntry.objects.all())
