"""A schema for each tenant: an alias finds other tables from one request to the next."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection, connections

from tokens import databases, old_tables, snapshot
from tokens.checks.cached import check_cached
from tokens.databases.base import Database
from tokens.jwt import AccessToken
from tokens.keys import new_sid

from .conftest import SECOND, Login
from .forge import signed

# As the connections of the packages have them: django-tenants and django-tenant-schemas, and
# django-pgschemas, whose connection does not say which schema it uses.
PACKAGES: dict[str, dict[str, Any]] = {
    "set_schema": {"set_schema": lambda name: None, "schema_name": "public"},
    "set_tenant": {"set_tenant": lambda tenant: None, "schema_name": "public"},
    "unnamed": {"_handle_search_path": lambda cursor: None},
}


@pytest.fixture(params=[*PACKAGES, "TENANT_MODEL"])
def tenants(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Let the database have a schema for each tenant."""
    real = connections["default"]
    if request.param == "TENANT_MODEL":
        settings.TENANT_MODEL = "shops.Shop"
    before = dict(vars(real))
    vars(real).update(PACKAGES.get(request.param, {}))
    # Or the next test would look again, and count one statement more.
    monkeypatch.setattr(old_tables, "_found", {})
    yield real
    for name in set(vars(real)) - set(before):
        if name in {"set_schema", "set_tenant", "schema_name", "_handle_search_path"}:
            del vars(real)[name]


@pytest.mark.django_db(transaction=True)
def test_W017_cached_checks_are_off(tenants: Any, settings: Any, user: AbstractUser) -> None:
    assert check_cached() == []
    settings.TOKENS_CHECK_MAX_AGE = SECOND
    (message,) = check_cached()
    assert message.id == "tokens.W017"
    assert "each tenant has a schema of its own" in message.msg
    snapshot.reset()
    claims = replace(AccessToken(signed(), verify=False).claims, sid=new_sid())
    assert snapshot.refuses(claims, using="default") is None
    login = Login(user)
    assert login.me().status_code == 200
    assert login.logout().status_code == 204
    assert login.me().status_code == 401
    assert snapshot.facts().loads == 0


@pytest.mark.any_database
def test_another_alias_keeps_its_snapshot(settings: Any) -> None:
    plain = connections["default"].copy("plain")
    assert not databases.of(plain).serves_tenants()
    vars(plain)["set_schema"] = print
    assert databases.of(plain).serves_tenants()


@pytest.mark.any_database
@pytest.mark.django_db
def test_the_old_tables_of_one_tenant_are_not_those_of_another(
    tenants: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {old_tables.OUTSTANDING, old_tables.BLACKLISTED}
    now: dict[str, Any] = {"schema": "old", "looked": 0}

    def visible(_self: Database, tables: object) -> set[str]:
        now["looked"] += 1
        return both if now["schema"] == "old" else set()

    def use(schema: str) -> None:
        now["schema"] = schema
        if hasattr(tenants, "schema_name"):
            tenants.schema_name = schema

    for kind in (Database, type(databases.of(tenants))):
        monkeypatch.setattr(kind, "visible", visible)
    for schema in ("new", "old", "new", "old"):
        use(schema)
        assert old_tables.are_asked("default") == (schema == "old")
        assert old_tables.may_be_there("default") == (schema == "old")
    # Where the connection does not say which schema it uses, each question looks.
    assert now["looked"] == (2 if hasattr(tenants, "schema_name") else 8)


@contextmanager
def schemas(*names: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('search_path')")
        path = cursor.fetchone()[0]
        for name in names:
            cursor.execute(f"CREATE SCHEMA {name}")
        try:
            yield
        finally:
            cursor.execute(f"SET search_path = {path}")
            for name in names:
                cursor.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="has schemas")
@pytest.mark.django_db(transaction=True)
def test_tables_are_visible_in_all_schemas_of_the_path_and_in_no_other() -> None:
    ask = databases.of(connections["default"]).visible
    with schemas("one", "two"), connection.cursor() as cursor:
        cursor.execute('CREATE TABLE one."Odd name" (id int); CREATE TABLE two.plain (id int)')
        tables = ["Odd name", "plain", "tokens_blacklistentry", "missing", 'a"b']
        seen = {}
        for path in ("public", "one, public", "two, one, public", "one"):
            cursor.execute(f"SET search_path = {path}")
            seen[path] = ask(tables)
    assert seen == {
        "public": {"tokens_blacklistentry"},
        "one, public": {"Odd name", "tokens_blacklistentry"},
        "two, one, public": {"Odd name", "plain", "tokens_blacklistentry"},
        "one": {"Odd name"},
    }


@pytest.mark.django_db
def test_tables_are_visible_everywhere() -> None:
    ask = databases.of(connections["default"]).visible
    assert ask(["tokens_blacklistentry", "missing"]) == {"tokens_blacklistentry"}
    assert ask([]) == set()
