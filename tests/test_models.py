import uuid

import pytest

from tokens.keys import key_for
from tokens.models import BlacklistEntry


@pytest.mark.django_db
def test_every_key_can_be_stored_and_found() -> None:
    # Among 1,000 keys are some of each value of the byte that MariaDB looks at.
    keys = {key_for("token", f"jti {number}", issuer="") for number in range(1000)}
    BlacklistEntry.objects.bulk_create(
        BlacklistEntry(key=key, scope="token", subject="x", expires_at="2030-01-01T00:00Z")
        for key in keys
    )
    assert set(BlacklistEntry.objects.filter(key__in=keys).values_list("key", flat=True)) == keys


def test_keys_of_tokens_are_uuids_of_version_8() -> None:
    key = key_for("token", "jti", issuer="")
    assert (key.version, key.variant) == (8, uuid.RFC_4122)
