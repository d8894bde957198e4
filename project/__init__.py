"""A small project that runs the app, for the demo and the tests and as an example to copy."""

# Django speaks to MariaDB and MySQL through MySQLdb, which is mysqlclient. PyMySQL can stand in for
# it, and needs no compiler.
try:
    import MySQLdb  # noqa: F401
except ImportError:
    import pymysql

    pymysql.install_as_MySQLdb()
