"""The demo project, whose first copy for cached checks is made before the workers are forked."""

from datetime import timedelta

from django.db import connections

from project.wsgi import application
from tokens import blacklist, clock, snapshot
from tokens.claims import Claims
from tokens.keys import new_sid

__all__ = ["application"]

now = clock.now()
claims = Claims(
    jti=new_sid(),
    sid=new_sid(),
    user_id="1",
    issuer="",
    issued_at=now,
    expires_at=now + timedelta(minutes=5),
)
assert snapshot.refuses(claims, using=blacklist.database()) is False
# A connection that is open belongs to one process.
connections.close_all()
