"""A PostgreSQL and a MariaDB of our own, as ``private_server`` has them."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from . import driver
from .private_server import Private, as_user, needs
from .processes import PATIENCE

FEWEST = 10  # connections that MariaDB can be told to allow


class Postgres(Private):
    user = "postgres"
    stop_signal = signal.SIGINT  # as `pg_ctl stop` does: it does not wait for the clients

    def find_programs(self) -> None:
        where = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        names = ("initdb", "postgres")
        self.initdb, self.postgres = needs(
            *(shutil.which(name, path=str(where[0]) if where else None) for name in names)
        )

    def prepare(self) -> None:
        subprocess.run(
            shlex.split(
                f"{as_user(self.user)} {self.initdb} -D data -A trust -U postgres --no-sync"
                " --encoding=UTF8 --locale=C"
            ),
            cwd=self.directory,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )

    def server(self) -> list[str]:
        return [self.postgres, "-D", str(self.directory / "data"), *self.settings()]

    def settings(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",  # for power failures only; what was written survives SIGKILL
            "max_connections": self.connections,
            "shared_buffers": "16MB",
        }
        return [f"--{name}={value}" for name, value in settings.items()]

    def admit(self) -> None:
        with closing(self.connect(admin=True)) as admin:
            driver.execute(admin, "CREATE ROLE app LOGIN", "CREATE DATABASE app OWNER app")

    @property
    def url(self) -> str:
        return f"postgres://app@127.0.0.1:{self.port}/app"

    @property
    def admin_url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/tokens"

    def connect(self, *, admin: bool = False, other: bool = False) -> Any:
        return driver.connect_to_postgresql(
            host="127.0.0.1",
            port=self.port,
            user="postgres" if admin else "app",
            dbname="postgres" if admin else "app",
            application_name="other" if other else "",
            connect_timeout=10,
        )

    def terminate_all(self, admin: Any) -> None:
        driver.execute(
            admin,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'app' AND application_name <> 'other'",
        )

    def set_read_only(self, on: bool) -> None:
        with closing(self.connect(admin=True)) as admin:
            driver.execute(
                admin,
                f"ALTER SYSTEM SET default_transaction_read_only = {on}",
                "SELECT pg_reload_conf()",
            )

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
                with suppress(*driver.Failed):
                    one.close()

    def _take_all(self, taken: list[Any]) -> None:
        with suppress(*driver.Refused):
            while True:
                taken.append(self.connect(other=True))


class MariaDB(Private):
    user = "mysql"

    def find_programs(self) -> None:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin"
        self.install, self.mariadbd = needs(
            shutil.which("mariadb-install-db", path=path), shutil.which("mariadbd", path=path)
        )

    def prepare(self) -> None:
        subprocess.run(
            shlex.split(
                f"{as_user(self.user)} {self.install} --no-defaults --skip-test-db"
                f" --auth-root-authentication-method=normal --datadir={self.directory}/data"
            ),
            cwd=self.directory,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )

    def server(self) -> list[str]:
        options = self.settings(self.directory)
        return [self.mariadbd, "--no-defaults", *options, "--skip-name-resolve"]

    def settings(self, directory: Path) -> list[str]:
        settings = {
            "datadir": directory / "data",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": directory / "socket",
            "pid-file": directory / "pid",
            # For power failures only, as fsync=off: what was committed survives SIGKILL.
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-buffer-pool-size": "32M",
            "max-connections": self.connections,
        }
        return [f"--{name}={value}" for name, value in settings.items()]

    def admit(self) -> None:
        with closing(self.connect(admin=True)) as admin:
            driver.execute(admin, "CREATE DATABASE app CHARACTER SET utf8mb4")
            for name in ("app", "other"):
                user = f"{name}@'127.0.0.1'"
                driver.execute(admin, f"CREATE USER {user}", f"GRANT ALL ON app.* TO {user}")

    @property
    def url(self) -> str:
        # Shorter than the fault: to wait in vain is what is to be seen. And without TLS, which
        # PyMySQL prepares anew for each connection.
        tls = "&ssl_disabled=1" if driver.IS_PYMYSQL else ""
        return f"mysql://app@127.0.0.1:{self.port}/app?read_timeout=1{tls}"

    @property
    def admin_url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/tokens"

    def connect(self, *, admin: bool = False, other: bool = False) -> Any:
        if admin:
            return driver.connect_to_mysql(
                unix_socket=str(self.directory / "socket"), user="root", autocommit=True
            )
        name = "other" if other else "app"
        return driver.connect_to_mysql(host="127.0.0.1", port=self.port, user=name, database="app")

    def terminate_all(self, admin: Any) -> None:
        driver.execute(admin, "KILL USER app")

    def set_read_only(self, on: bool) -> None:
        with closing(self.connect(admin=True)) as admin:
            driver.execute(admin, f"SET GLOBAL read_only = {int(on)}")

    @contextmanager
    def exhausted(self) -> Iterator[None]:
        # MariaDB frees a connection some time after it was ended, and the app is as quick as we
        # are to take it. So there are just as many from now on as others have.
        admin = self.connect(admin=True)
        taken = [self.connect(other=True) for _ in range(FEWEST)]
        try:
            driver.execute(admin, f"SET GLOBAL max_connections = {FEWEST}")
            self.terminate_all(admin)
            yield
        finally:
            driver.execute(admin, f"SET GLOBAL max_connections = {self.connections}")
            for one in (admin, *taken):
                one.close()
