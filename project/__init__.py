"""A small project that runs the app, for the demo and the tests and as an example to copy."""

import pymysql

# Django speaks to MariaDB and MySQL through MySQLdb; PyMySQL needs no compiler.
pymysql.install_as_MySQLdb()
