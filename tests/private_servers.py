"""A PostgreSQL and a MariaDB of our own, as ``private_server`` has them."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from .private_server import CONNECTIONS, Private, as_user, needs

FEWEST = 10  # connections that MariaDB can be told to allow


class Postgres(Private):
    user = "postgres"
    stop_signal = signal.SIGINT  # as `pg_ctl stop` does: it does not wait for the clients

    def __init__(self) -> None:
        where = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        names = ("initdb", "postgres")
        self.initdb, self.postgres = needs(
            *(shutil.which(name, path=str(where[0]) if where else None) for name in names)
        )
        super().__init__()

    def prepare(self) -> None:
        subprocess.run(
            shlex.split(
                f"{as_user(self.user)} {self.initdb} -D data -A trust -U postgres --no-sync"
                " --encoding=UTF8 --locale=C"
            ),
            cwd=self.directory,
            check=True,
            capture_output=True,
            timeout=120,
        )

    def server(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",  # for power failures only; what was written survives SIGKILL
            "max_connections": CONNECTIONS,
            "shared_buffers": "16MB",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.postgres, "-D", str(self.directory / "data"), *options]

    def admit(self) -> None:
        with self.connect(admin=True) as admin:
            admin.execute("CREATE ROLE app LOGIN")
            admin.execute("CREATE DATABASE app OWNER app")

    @property
    def url(self) -> str:
        return f"postgres://app@127.0.0.1:{self.port}/app"

    def connect(self, *, admin: bool = False, other: bool = False) -> Any:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres" if admin else "app",
            dbname="postgres" if admin else "app",
            application_name="other" if other else "",
            connect_timeout=10,
            autocommit=True,
        )

    def terminate_all(self, admin: Any) -> None:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'app' AND application_name <> 'other'"
        )

    def set_read_only(self, on: bool) -> None:
        with self.connect(admin=True) as admin:
            admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {on}")
            admin.execute("SELECT pg_reload_conf()")

    @contextmanager
    def exhausted(self) -> Iterator[None]:
        taken: list[Any] = []

        def take(admin: Any) -> None:
            if not taken:
                # All that are free first, so that what is ended is not had again.
                self._take_all(taken)
            self.terminate_all(admin)
            self._take_all(taken)

        try:
            with self._again_and_again(take):
                yield
        finally:
            for one in taken:
                with suppress(psycopg.Error):
                    one.close()

    def _take_all(self, taken: list[Any]) -> None:
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(self.connect(other=True))


class MariaDB(Private):
    user = "mysql"

    def __init__(self) -> None:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin"
        self.install, self.mariadbd = needs(
            shutil.which("mariadb-install-db", path=path), shutil.which("mariadbd", path=path)
        )
        super().__init__()

    def prepare(self) -> None:
        subprocess.run(
            shlex.split(
                f"{as_user(self.user)} {self.install} --no-defaults --skip-test-db"
                f" --auth-root-authentication-method=normal --datadir={self.directory}/data"
            ),
            cwd=self.directory,
            check=True,
            capture_output=True,
            timeout=120,
        )

    def server(self) -> list[str]:
        settings = {
            "datadir": self.directory / "data",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self.directory / "socket",
            "pid-file": self.directory / "pid",
            # For power failures only, as fsync=off: what was committed survives SIGKILL.
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-buffer-pool-size": "32M",
            "max-connections": CONNECTIONS,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.mariadbd, "--no-defaults", *options, "--skip-name-resolve"]

    def admit(self) -> None:
        admin = self.connect(admin=True)
        with admin.cursor() as cursor:
            cursor.execute("CREATE DATABASE app CHARACTER SET utf8mb4")
            for name in ("app", "other"):
                cursor.execute(f"CREATE USER {name}@'127.0.0.1'")
                cursor.execute(f"GRANT ALL ON app.* TO {name}@'127.0.0.1'")
        admin.close()

    @property
    def url(self) -> str:
        # Shorter than the fault: to wait in vain is what is to be seen. And without TLS, because
        # PyMySQL prepares it anew for each connection.
        return f"mysql://app@127.0.0.1:{self.port}/app?read_timeout=1&ssl_disabled=1"

    def connect(self, *, admin: bool = False, other: bool = False) -> Any:
        if admin:
            return pymysql.connect(
                unix_socket=str(self.directory / "socket"),
                user="root",
                autocommit=True,
                ssl_disabled=True,
            )
        name = "other" if other else "app"
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=name, database="app", ssl_disabled=True
        )

    def terminate_all(self, admin: Any) -> None:
        with admin.cursor() as cursor:
            cursor.execute("KILL USER app")

    def set_read_only(self, on: bool) -> None:
        admin = self.connect(admin=True)
        with admin.cursor() as cursor:
            cursor.execute(f"SET GLOBAL read_only = {int(on)}")
        admin.close()

    @contextmanager
    def exhausted(self) -> Iterator[None]:
        # MariaDB frees a connection some time after it was ended, and the app is as quick as we
        # are to take it. So there are just as many from now on as others have.
        admin = self.connect(admin=True)
        taken = [self.connect(other=True) for _ in range(FEWEST)]
        try:
            with admin.cursor() as cursor:
                cursor.execute(f"SET GLOBAL max_connections = {FEWEST}")
            self.terminate_all(admin)
            yield
        finally:
            with admin.cursor() as cursor:
                cursor.execute(f"SET GLOBAL max_connections = {CONNECTIONS}")
            for one in (admin, *taken):
                one.close()
