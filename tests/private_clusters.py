"""Servers of our own that belong together: nodes of Galera, and a primary with a standby."""

import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from . import driver
from .private_server import SECONDS_TO_START, as_user, free_port, needs
from .private_servers import MariaDB, Postgres
from .processes import PATIENCE

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")


class Node(MariaDB):
    """A node of Galera; it is started when it knows where the others are."""

    def __init__(self, like: "Node | None" = None) -> None:
        needs(str(PROVIDER) if PROVIDER.exists() else None)
        self.like = like
        self.group_port, self.state_port = free_port(), free_port()
        self.address, self.first = "gcomm://", like is None
        super().__init__()

    def prepare(self) -> None:
        if self.like is None:
            super().prepare()
            return
        # Whoever has the same state joins without a transfer.
        subprocess.run(
            ["cp", "-a", f"{self.like.directory}/data", f"{self.directory}/data"], check=True
        )

    def start(self) -> None:
        if self.like is None or self.address != "gcomm://":
            super().start()

    def admit(self) -> None:
        if self.like is None:
            super().admit()

    def server(self) -> list[str]:
        group = f"127.0.0.1:{self.group_port}"
        provider = {
            "gmcast.listen_addr": f"tcp://{group}",
            "ist.recv_addr": f"127.0.0.1:{self.state_port}",
            "gcache.size": "16M",
        }
        settings = {
            "wsrep-on": "ON",
            "wsrep-provider": PROVIDER,
            "wsrep-provider-options": ";".join(f"{key}={value}" for key, value in provider.items()),
            "wsrep-cluster-address": self.address,
            "wsrep-node-address": group,
            "binlog-format": "ROW",
            "innodb-autoinc-lock-mode": 2,
            "wsrep-sst-method": "rsync",
            "max-connections": 60,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [*super().server(), *options, *(["--wsrep-new-cluster"] if self.first else [])]

    def answers(self) -> bool:
        return super().answers() and self.asked("SHOW STATUS LIKE 'wsrep_ready'") == "ON"

    def asked(self, question: str) -> str:
        admin = self.connect(admin=True)
        try:
            with admin.cursor() as cursor:
                cursor.execute(question)
                row = cursor.fetchone()
        finally:
            admin.close()
        return str(row[1]) if row else ""

    @property
    def url(self) -> str:
        return f"mysql://app@127.0.0.1:{self.port}/app?ssl_disabled=1"


class Galera:
    """A cluster of nodes, all of which write."""

    def __init__(self, size: int = 3) -> None:
        first = Node()
        self.nodes = [first]
        try:
            first.stop()
            self.nodes += [Node(like=first) for _ in range(size - 1)]
            group = ",".join(f"127.0.0.1:{node.group_port}" for node in self.nodes)
            for node in self.nodes:
                node.address = f"gcomm://{group}"
                node.start()
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> "Galera":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        for node in reversed(self.nodes):
            node.end()

    def execute(self, sql: str, node: int = 0) -> Any:
        connection = driver.connect_to_mysql(
            unix_socket=str(self.nodes[node].directory / "socket"),
            user="root",
            database="app",
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()


class Primary(Postgres):
    """A PostgreSQL that a standby can follow."""

    def server(self) -> list[str]:
        return [*super().server(), "--wal_level=replica", "--max_wal_senders=4", "--hot_standby=on"]


class Standby(Postgres):
    """A PostgreSQL that follows ``primary`` asynchronously."""

    def __init__(self, primary: Primary) -> None:
        self.primary = primary
        where = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        [self.basebackup] = needs(
            shutil.which("pg_basebackup", path=str(where[0]) if where else None)
        )
        super().__init__()

    def prepare(self) -> None:
        subprocess.run(
            shlex.split(
                f"{as_user(self.user)} {self.basebackup} --host 127.0.0.1 --username postgres"
                f" --port {self.primary.port} --pgdata data --write-recovery-conf --no-sync"
                " --checkpoint fast"
            ),
            cwd=self.directory,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )

    def admit(self) -> None:
        """It has what the primary has."""

    def pause(self) -> None:
        """Fall behind, until ``resume``."""
        with self.connect(admin=True) as admin:
            admin.execute("SELECT pg_wal_replay_pause()")
            deadline = time.monotonic() + SECONDS_TO_START
            while admin.execute("SELECT pg_get_wal_replay_pause_state()").fetchone()[0] != "paused":
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def resume(self) -> None:
        """Follow again, and return when nothing lacks."""
        with self.primary.connect(admin=True) as primary:
            position = primary.execute("SELECT pg_current_wal_lsn()").fetchone()[0]
        with self.connect(admin=True) as admin:
            admin.execute("SELECT pg_wal_replay_resume()")
            deadline = time.monotonic() + SECONDS_TO_START
            question = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            while not admin.execute(question, [position]).fetchone()[0]:
                assert time.monotonic() < deadline
                time.sleep(0.02)
