"""End the sessions of users who are deleted (ASVS 5.0, 7.4.2), however many at once.

Django sends ``pre_delete`` for each user before it runs the first statement of a deletion. So the
users are collected, and all of them are dealt with just before a statement that touches them.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from .. import mass_logout, old_tables, simplejwt_import
from ..conf import conf
from ..models import BlacklistEntry, TokenSession


def before_delete(*, instance: Model, using: str, **kwargs: Any) -> None:
    """End the user's sessions before the user is deleted.

    If simplejwt's tables are there, they forget the user, too: the database insists.
    """
    if "deletion" not in conf.TOKENS_REVOKE_ON and not old_tables.may_be_there(using):
        return
    pk = getattr(instance, get_user_model()._meta.pk.attname)
    connection = connections[using]
    if connection.in_atomic_block:
        _deletion(connection).pks.append(pk)
    else:  # not sent by Django: it deletes in a transaction
        _end([pk], using)


class Deletion:
    """The users that a transaction, or the present savepoint of it, is about to delete.

    It waits among the callbacks of the transaction, because a rollback drops those.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.pks: list[Any] = []
        transaction.on_commit(self, using=connection.alias)
        # Not at the end, where Django's execute_wrapper() takes away its own.
        connection.execute_wrappers.insert(0, self.before_statement)

    def __call__(self) -> None:
        """End the sessions of these users, before the deletion or, at the latest, at the commit."""
        self._stop_waiting()
        # A child of the user model is deleted together with its parent.
        _end(list(dict.fromkeys(self.pks)), self.connection.alias)

    def before_statement(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: Any, context: Any
    ) -> Any:
        """End the sessions if ``sql`` touches users, sessions or entries; then execute it.

        Statements about other things come from other receivers, perhaps one for each user.
        """
        if not any(entry[1] is self for entry in self.connection.run_on_commit):
            self._stop_waiting()  # rolled back
        elif _touches_users(self.connection, str(sql)):
            self()
        return execute(sql, params, many, context)

    def _stop_waiting(self) -> None:
        callbacks, wrappers = self.connection.run_on_commit, self.connection.execute_wrappers
        callbacks[:] = [entry for entry in callbacks if entry[1] is not self]
        wrappers[:] = [wrapper for wrapper in wrappers if wrapper != self.before_statement]


def _end(pks: list[Any], using: str) -> None:
    if "deletion" in conf.TOKENS_REVOKE_ON:
        mass_logout.end_deleted(pks, users_in=using)
    simplejwt_import.forget_users(pks, using=using)


def _deletion(connection: BaseDatabaseWrapper) -> Deletion:
    """Return the deletion that is rolled back together with what happens now."""
    savepoints = set(connection.savepoint_ids)
    for known, callback, *_ in connection.run_on_commit:
        if isinstance(callback, Deletion) and known == savepoints:
            return callback
    return Deletion(connection)


def _touches_users(connection: BaseDatabaseWrapper, sql: str) -> bool:
    models: tuple[type[Model], ...] = (get_user_model(), TokenSession, BlacklistEntry)
    return any(connection.ops.quote_name(model._meta.db_table) in sql for model in models)
