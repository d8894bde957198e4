"""Connections to a MariaDB on loopback, without the most expensive part of making one."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from . import driver


def without_tls(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what to change in ``environment`` so that PyMySQL does not prepare for TLS.

    It reads all of the system's certificates for each connection, even if the server has no TLS.
    That takes a hundred times as long as connecting does, and threads and children of the tests
    connect often.
    """
    url = urlsplit(environment.get("DATABASE_URL", ""))
    if not driver.IS_PYMYSQL:
        return {}
    if url.scheme != "mysql" or url.hostname not in ("127.0.0.1", "localhost") or url.query:
        return {}
    return {"DATABASE_URL": url._replace(query="ssl_disabled=1").geturl()}
