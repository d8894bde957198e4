"""Run the tests on every database at hand: ``python -m tests.databases [pytest's arguments]``.

SQLite always; PostgreSQL and MariaDB where a server answers on loopback. With REQUIRE_DATABASES=1
a server that does not answer is a failure. POSTGRES_URL and MARIADB_URL name other servers.
"""

import os
import subprocess
import sys
from urllib.parse import urlsplit

import psycopg
import pymysql

DATABASES = {
    "SQLite": "sqlite:///db.sqlite3",
    "PostgreSQL": os.environ.get("POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/tokens"),
    "MariaDB": os.environ.get("MARIADB_URL", "mysql://root@127.0.0.1:3306/tokens"),
}


def answers(url: str) -> bool:
    """Return whether the server of ``url`` lets us in; SQLite needs none."""
    address = urlsplit(url)
    user, password = address.username or "", address.password or ""
    host, port = address.hostname or "", address.port or 0
    try:
        if address.scheme == "postgres":
            psycopg.connect(
                dbname="postgres",
                host=host,
                port=port,
                user=user,
                password=password,
                connect_timeout=3,
            ).close()
        elif address.scheme == "mysql":
            pymysql.connect(
                host=host, port=port, user=user, password=password, connect_timeout=3
            ).close()
    except (psycopg.OperationalError, pymysql.OperationalError):
        return False
    return True


def run(url: str, arguments: list[str]) -> bool:
    """Return whether pytest passed on the database ``url``.

    Most tests wait, for a database or a process: so there are two at work for each processor.
    """
    environment = os.environ | {"DATABASE_URL": url}
    workers = ["--numprocesses", str(2 * (os.cpu_count() or 1)), "--dist", "loadgroup"]
    command = [sys.executable, "-m", "pytest", *workers, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    results = {}
    for name, url in DATABASES.items():
        if answers(url):
            print(f"\n== {name} ==", flush=True)
            results[name] = "passed" if run(url, arguments) else "FAILED"
        else:
            required = os.environ.get("REQUIRE_DATABASES") == "1"
            results[name] = (
                "FAILED: no server answers" if required else "not run: no server answers"
            )
    print("\nDatabases:", "; ".join(f"{name} {result}" for name, result in results.items()))
    return any(result.startswith("FAILED") for result in results.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
