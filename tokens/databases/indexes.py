"""An index on some rows of a table, for databases that have such indexes."""

from typing import Any

from django.db import connections, models
from django.db.models import Q

# What the schema editor runs in place of the index; it would run an empty text, too.
_NOTHING = "DO 0"


def has_partial_indexes(using: str) -> bool:
    """Return whether the database ``using`` has what ``PartialIndex`` asks for."""
    return bool(connections[using].features.supports_partial_indexes)


class PartialIndex(models.Index):
    """An index on the ``rows`` that match. MariaDB and MySQL have no such index, and get none.

    Django's own ``condition`` would give them an index on all rows, and a warning (models.W037).
    """

    def __init__(self, *, rows: Q, **options: Any) -> None:
        super().__init__(**options)
        self.rows = rows

    def deconstruct(self) -> Any:
        _path, args, kwargs = super().deconstruct()
        return "tokens.databases.PartialIndex", args, kwargs | {"rows": self.rows}

    def create_sql(
        self, model: type[models.Model], schema_editor: Any, using: str = "", **options: Any
    ) -> Any:
        if not schema_editor.connection.features.supports_partial_indexes:
            return _NOTHING
        index = models.Index(fields=self.fields, name=self.name, condition=self.rows)
        return index.create_sql(model, schema_editor, using=using, **options)

    def remove_sql(self, model: type[models.Model], schema_editor: Any, **options: Any) -> Any:
        if not schema_editor.connection.features.supports_partial_indexes:
            return _NOTHING
        return super().remove_sql(model, schema_editor, **options)
