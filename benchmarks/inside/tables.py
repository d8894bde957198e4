"""The tables of the app that is installed, and how large they are."""

from django.apps import apps
from django.db import connection

APP = "tokens" if apps.is_installed("tokens") else "token_blacklist"


def rows() -> dict[str, int]:
    """Return the number of rows of each model of the app."""
    return {
        model.__name__: model._default_manager.count()
        for model in apps.get_app_config(APP).get_models()
    }


def size() -> int:
    """Return the bytes of the app's tables with all indexes; on SQLite those of all tables."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            return int(cursor.fetchone()[0])
        total = 0
        for model in apps.get_app_config(APP).get_models():
            cursor.execute("SELECT pg_total_relation_size(%s)", [model._meta.db_table])
            total += cursor.fetchone()[0]
    return total


def compact() -> None:
    """Rewrite the tables without the space that updates left behind."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM" if connection.vendor == "sqlite" else "VACUUM FULL")
