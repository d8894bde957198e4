"""Fill the app's tables as two weeks of a live system leave them, inside the database.

One entry in fourteen has expired, anywhere in the table. Rows lie in the order in which they were
made, and their ends are spread.
"""

import time
from typing import Any

from django.db import connection

from benchmarks.inside import bulk, tables

FIRST_USER = 1_000_000  # beyond those that the migration has made

_DAY = 86_400
_USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
)

# What differs: a series of numbers, chance, a moment so many seconds from now, and UUIDs.
_WORDS = {
    "postgresql": {
        "series": "generate_series(1, {count}) AS s(n)",
        "chance": "random()",
        "moment": "now() + make_interval(secs => {0})",
        "uuid": "gen_random_uuid()",
        "uuid7": "(lpad(to_hex(((extract(epoch from now()) + {0}) * 1000)::bigint), 12, '0')"
        " || '7' || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))"
        "::uuid",
        "text": "{0}::text",
        "address": "concat('203.0.', n % 250, '.', n / 250 % 250)::inet",
    },
    "mysql": {
        "series": "(SELECT seq AS n FROM seq_1_to_{count}) AS s",
        "chance": "rand()",
        "moment": "utc_timestamp(6) + interval {0} second",
        "uuid": "cast(concat(substr(md5(rand()), 1, 12), '4', substr(md5(rand()), 1, 3), '8',"
        " substr(md5(rand()), 1, 15)) as uuid)",
        "uuid7": "cast(concat(lpad(hex(cast((unix_timestamp(utc_timestamp(3)) + {0}) * 1000"
        " as unsigned)), 12, '0'), '7', substr(md5(rand()), 1, 3), '8', substr(md5(rand()), 1, 15))"
        " as uuid)",
        "text": "cast({0} as char)",
        "address": "concat('203.0.', n % 250, '.', n div 250 % 250)",
    },
}

# Of a thousand entries: the frequent reasons, and the rare ones.
_REASON = (
    "CASE WHEN n % 1000 = 0 THEN 'reuse' WHEN n % 1000 < 5 THEN 'password_change'"
    " WHEN n % 1000 < 8 THEN 'admin' WHEN n % 10 = 8 THEN 'rotated' WHEN n % 10 = 9 THEN 'limit'"
    " WHEN n % 10 = 7 THEN 'logout_all' ELSE 'logout' END"
)


def main(entries: int, sessions: int, users: int) -> dict[str, Any]:
    began = time.monotonic()
    _users(users)
    _sessions(sessions, users)
    _entries(entries, users)
    bulk.settle()
    return {"seconds": time.monotonic() - began, **_sizes()}


def _fill(table: str, columns: str, values: str, count: int) -> None:
    words = _WORDS[connection.vendor]
    quoted = ", ".join(map(connection.ops.quote_name, columns.split()))
    series = words["series"].format(count=count)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({quoted}) SELECT {values} FROM {series}")


def _word(name: str, *arguments: str) -> str:
    return _WORDS[connection.vendor][name].format(*arguments)


def _users(count: int) -> None:
    number = _word("text", "n")
    name = f"concat('user', {number}, '@example.com')"
    values = (
        f"n + {FIRST_USER}, '!', {name}, '', '', {name}, false, true, false, {_word('moment', '0')}"
    )
    columns = (
        "id password username first_name last_name email is_staff is_active is_superuser"
        " date_joined"
    )
    _fill("auth_user", columns, values, count)


def _sessions(count: int, users: int) -> None:
    ago = f"(-{14 * _DAY} * (1 - n / ({count} * 1.0)))"
    jti, chance = "md5(concat('jti', n))", _word("chance")
    values = ", ".join(
        [
            _word("uuid7", ago),
            f"{FIRST_USER + 1} + floor({chance} * {users})",
            *(jti, "''", "''"),
            *(_word("moment", ago), _word("moment", f"({ago} / 3)")),
            _word("moment", f"({chance} * {14 * _DAY} - {_DAY})"),
            _word("address"),
            f"'{_USER_AGENT}'",
        ]
    )
    columns = (
        "sid user_id refresh_jti previous_jti auth_hash created_at last_used_at expires_at"
        " ip_address user_agent"
    )
    _fill("tokens_tokensession", columns, values, count)


def _entries(count: int, users: int) -> None:
    ago, chance = f"(-{14 * _DAY} * (1 - n / ({count} * 1.0)))", _word("chance")
    of_token, of_user = "n % 8 = 1", "n % 32 = 3"
    key = f"CASE WHEN {of_token} OR {of_user} THEN {_word('uuid')} ELSE {_word('uuid7', ago)} END"
    end = f"CASE WHEN n % 14 = 0 THEN -{chance} * {_DAY} - 600 ELSE {chance} * {13 * _DAY} END"
    values = ", ".join(
        [
            key,
            f"CASE WHEN {of_user} THEN 'user' WHEN {of_token} THEN 'token' ELSE 'session' END",
            "md5(concat('subject', n))",
            _REASON,
            f"{FIRST_USER + 1} + floor({chance} * {users})",
            f"CASE WHEN {of_user} THEN {_word('moment', ago)} END",
            _word("moment", ago),
            _word("moment", f"({end})"),
            f"CASE WHEN {of_token} OR {of_user} THEN NULL ELSE {_word('address')} END",
            f"CASE WHEN {of_token} OR {of_user} THEN '' ELSE '{_USER_AGENT}' END",
        ]
    )
    columns = (
        "key scope subject reason user_id issued_before created_at expires_at ip_address user_agent"
    )
    _fill("tokens_blacklistentry", columns, values, count)


def _sizes() -> dict[str, Any]:
    return {"bytes": tables.size(), "rows": tables.rows()}
