"""The demo project, which loads its first snapshot before the workers are forked."""

from django.db import connections

from project.wsgi import application
from tokens import blacklist, snapshot
from tokens.jwt import AccessToken
from tokens.keys import new_sid

__all__ = ["application"]

token = AccessToken()
token["sid"] = new_sid()
assert snapshot.refuses(token.claims, using=blacklist.database()) is False
# A connection that is open belongs to one process.
connections.close_all()
