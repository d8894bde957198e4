"""Queries that the ORM compiles once for each connection, and that run with other values each time.

To build and compile a query takes the ORM longer than the database takes to answer it. What it made
belongs to the connection, because quoting and the conversion of values may differ between two.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Expression, Field, QuerySet
from django.db.models.lookups import Exact
from django.db.models.manager import BaseManager

_KEPT = "_tokens_prepared"  # on a connection
_PLACE = "(tokens: here)"
_ANSWER = "tokens_answer"  # an annotation

Sql = tuple[str, tuple[Any, ...]]


class Here(Expression):
    """The place of a condition whose SQL differs from one run to the next, as an annotation."""

    output_field = BooleanField()

    def as_sql(self, compiler: Any, connection: Any) -> Sql:
        return _PLACE, ()


HERE = Here()


def annotated(rows: QuerySet[Any], condition: Expression) -> QuerySet[Any]:
    """Return the rows, each with the answer to ``condition``, which may be ``HERE``."""
    found: QuerySet[Any] = rows.annotate(**{_ANSWER: condition})
    return found


def answer_of(instance: Any) -> bool:
    """Return the answer that a row of ``annotated`` has."""
    return bool(getattr(instance, _ANSWER))


class Prepared:
    """A query that was compiled, on one connection."""

    def __init__(
        self, rows: QuerySet[Any], values: Sequence[Any], connection: BaseDatabaseWrapper
    ) -> None:
        """Compile ``rows``, whose parameters must be ``values``. Raises ValueError if not."""
        compiler: Any = rows.query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        self._head, place, self._tail = sql.partition(_PLACE)
        if list(parameters) != list(values) or _PLACE in self._tail:
            raise ValueError(sql)
        select, klass = compiler.select, compiler.klass_info
        self._asks = bool(place)
        self._connection, self._compiler = connection, compiler
        self._model = klass["model"]
        self._columns, self._names = self._columns_of(klass)
        self._related = [
            (one["field"], one["model"], *self._columns_of(one))
            for one in klass.get("related_klass_infos", [])
        ]
        expressions = [column[0] for column in select[: compiler.col_count]]
        self._converters = compiler.get_converters(expressions)
        self._answer = compiler.annotation_col_map[_ANSWER] if self._asks else 0

    def _columns_of(self, klass: dict[str, Any]) -> tuple[slice, list[str]]:
        positions = klass["select_fields"]
        columns = slice(positions[0], positions[-1] + 1)
        return columns, [one[0].target.attname for one in self._compiler.select[columns]]

    def run(self, values: Sequence[Any], condition: Any) -> list[tuple[Any, bool]]:
        """Return the instances, each with the answer to ``condition``. One statement."""
        sql, parameters = condition.as_sql(None, self._connection) if self._asks else ("", ())
        with self._connection.cursor() as cursor:
            cursor.execute(f"{self._head}{sql}{self._tail}", (*parameters, *values))
            found: Any = cursor.fetchall()
        if self._converters:
            found = self._compiler.apply_converters(found, self._converters)
        return [self._read(row) for row in found]

    def _read(self, row: Sequence[Any]) -> tuple[Any, bool]:
        alias = self._connection.alias
        instance = self._model.from_db(alias, self._names, row[self._columns])
        for field, model, columns, names in self._related:
            field.set_cached_value(instance, model.from_db(alias, names, row[columns]))
        return instance, self._asks and bool(row[self._answer])


def prepared(
    key: Hashable,
    make: Callable[[], QuerySet[Any]],
    values: Sequence["tuple[Field[Any, Any], Any]"],
    *,
    using: str,
) -> Callable[[Expression | None], list[tuple[Any, bool]]] | None:
    """Return how to run the query that ``make`` builds with these values, or None if it can't be.

    The ORM compiles it if this connection has no query of this ``key``, which stands for all that
    the query depends on beside the values. What is returned takes the condition that stands where
    the query has ``HERE``, and returns what ``Prepared.run`` does.
    """
    connection: Any = connections[using]
    parameters = [
        field.get_db_prep_value(field.get_prep_value(value), connection, prepared=True)
        for field, value in values
    ]
    kept: dict[Hashable, Prepared | None] = vars(connection).setdefault(_KEPT, {})
    known = (key, settings.USE_TZ)  # by which some databases convert moments
    if known not in kept:
        try:
            kept[known] = Prepared(make(), parameters, connection)
        except (ValueError, EmptyResultSet, FullResultSet):
            kept[known] = None
    found = kept[known]
    return None if found is None else partial(found.run, parameters)


def is_plain(manager: BaseManager[Any]) -> bool:
    """Return whether a manager shows the rows of its table as they are, by Django's own means."""
    found: Any = manager
    return (
        found._queryset_class is QuerySet
        and found._db is None
        and _is_djangos_own(manager, "get_queryset")
        and _is_djangos_own(manager, "all")
    )


def _is_djangos_own(manager: BaseManager[Any], name: str) -> bool:
    method = getattr(manager, name)
    return (
        getattr(method, "__func__", None) is getattr(BaseManager, name)
        and method.__self__ is manager
    )


def compares_plainly(field: "Field[Any, Any]") -> bool:
    """Return whether a field compares with a value as Django does, and with no other row's key."""
    exact: Any = field.get_lookup("exact")
    is_column = field.remote_field is None and field.column is not None
    return is_column and issubclass(exact, Exact) and _is_djangos(exact)


def _is_djangos(kind: type) -> bool:
    return kind.__module__.startswith("django.db.models.")
