"""The demo project on several servers at once; each thread says which of them it talks to."""

import json
import os

import environ

from .settings import *  # noqa: F403
from .settings import SIMPLE_JWT

DATABASES = {
    alias: environ.Env.db_url_config(url) | {"CONN_MAX_AGE": None}
    for alias, url in json.loads(os.environ["CLUSTER_URLS"]).items()
}
for _database in DATABASES.values():
    _database.setdefault("OPTIONS", {})
    if _init := os.environ.get("CLUSTER_INIT_COMMAND"):
        _database["OPTIONS"]["init_command"] = _init
DATABASE_ROUTERS = ["tests.cluster_rounds.ByThread"]
LOGGING = {"version": 1, "disable_existing_loggers": True}
ALLOWED_HOSTS = ["*"]
# It writes the user's row at each login, and what is to be seen is what holds without.
SIMPLE_JWT = {**SIMPLE_JWT, "UPDATE_LAST_LOGIN": False}
