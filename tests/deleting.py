"""Let a test do what it likes in place of the cleanup's batches."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models

from tokens.cleanup import batches
from tokens.databases import Batch
from tokens.models import BlacklistEntry

real = batches.delete


def replace_batches(
    monkeypatch: pytest.MonkeyPatch,
    delete: Callable[..., Batch],
    *,
    model: type[models.Model] = BlacklistEntry,
) -> None:
    """Let ``delete`` do the batches of one table; those of the other stay as they are."""

    def either(rows: Any, *arguments: Any, **options: Any) -> Batch:
        chosen = delete if rows.model is model else real
        return chosen(rows, *arguments, **options)

    monkeypatch.setattr(batches, "delete", either)
