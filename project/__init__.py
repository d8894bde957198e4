"""A small project that runs the app: the demo, the tests' playground, an example to copy."""

import pymysql

# Django speaks to MariaDB and MySQL through MySQLdb; PyMySQL needs no compiler.
pymysql.install_as_MySQLdb()
