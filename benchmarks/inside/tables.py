"""The tables of the app that is installed, and how large they are."""

from typing import Any

from django.apps import apps
from django.db import connection

APP = next(
    config.label
    for config in apps.get_app_configs()
    if config.label in ("tokens", "token_blacklist", "oauth2_provider")
)


def rows() -> dict[str, int]:
    """Return the number of rows of each model of the app."""
    return {model.__name__: model._default_manager.count() for model in _models()}


def size() -> int:
    """Return the bytes of the app's tables with all indexes; on SQLite those of all tables."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            return int(cursor.fetchone()[0])
        if connection.vendor == "mysql":
            for name in _names():
                cursor.execute(f"ANALYZE TABLE {name}")
                cursor.fetchall()
            cursor.execute(
                "SELECT sum(data_length + index_length) FROM information_schema.tables"
                " WHERE table_schema = database() AND table_name LIKE %s",
                [f"{APP}_%"],
            )
            return int(cursor.fetchone()[0])
        total = 0
        for name in _names():
            cursor.execute("SELECT pg_total_relation_size(%s)", [name])
            total += cursor.fetchone()[0]
    return total


def vacuum() -> None:
    """Let the space of old versions of rows be used again; SQLite has none."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM {', '.join(_names())}")


def compact() -> None:
    """Rewrite the tables without the space that updates left behind."""
    with connection.cursor() as cursor:
        sqlite = connection.vendor == "sqlite"
        cursor.execute("VACUUM" if sqlite else f"VACUUM FULL {', '.join(_names())}")


def _names() -> list[str]:
    return [model._meta.db_table for model in _models()]


def _models() -> list[Any]:
    models = apps.get_app_config(APP).get_models()
    return [model for model in models if not model._meta.proxy]  # these have no table of their own
