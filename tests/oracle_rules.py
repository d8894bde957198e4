"""The rest of the state machine: what ends logins, what passes, and what goes wrong."""

from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.test import override_settings
from hypothesis import strategies as st
from hypothesis.stateful import RULE_MARKER, rule
from rest_framework_simplejwt.utils import get_md5_hash_password

from tokens import sessions, snapshot
from tokens.jwt import AnyToken

from . import oracle_app as app
from .oracle import DAY, Token, User, Verdict
from .oracle_compared import Users, lasting
from .oracle_machine import Machine, names, waits

tokens, accesses, refreshes = Machine.tokens, Machine.accesses, Machine.refreshes


class Undone(Exception):
    pass


class EveryRule(Machine):
    """The state machine with all of its rules."""

    # One login ends.

    @rule(token=tokens, way=st.sampled_from(["logout", "logout", "blacklist", "code"]))
    def log_out(self, token: Token, way: str) -> None:
        if way == "code":
            AnyToken(token.raw, verify=False).blacklist()
        elif token.kind != "refresh":
            assert app.post("logout/", access=token.raw).status_code == 204
        elif way == "logout":
            assert app.post("logout/", {"refresh": token.raw}).status_code == 204
        else:
            status = app.post("token/blacklist/", {"refresh": token.raw}).status_code
            assert status == (401 if self.oracle.is_expired(token) else 200)
            if status != 200:
                return
        self.oracle.log_out(token)

    @rule(access=accesses, token=tokens)
    def end_a_device(self, access: Token, token: Token) -> None:
        login = token.login
        if login is None or self.oracle.request(access) is not Verdict.GOOD:
            return
        status = app.end_by_id(login.sid, access.raw)
        if login.ended or login.user is not access.user:
            assert status == 404
        elif self.oracle.is_live(login) and not login.unsure:
            assert status == 204
        login.ended |= status == 204

    @rule(token=tokens, by=st.sampled_from(["jti", "session"]))
    def revoke_one(self, token: Token, by: str) -> None:
        if by == "jti" and not self.oracle.is_expired(token):
            ends = max(token.expires, token.refreshable + DAY) // 1000
            app.revoke(jti=token.jti, expires=str(int(app.BEGIN.timestamp()) + ends))
            self.oracle.revoked.add(token.jti)
        elif by == "session" and token.login:
            app.revoke(session=token.login.sid)
            token.login.ended = True

    # All logins end.

    @rule(token=accesses, path=st.sampled_from(["logout/all/", "logout/all/", "logout/others/"]))
    def log_out_everywhere_over_http(self, token: Token, path: str) -> None:
        if self.oracle.request(token) is not Verdict.GOOD:
            return
        assert app.post(path, access=token.raw).status_code == 200
        kept = token.login if path == "logout/others/" else None
        self.oracle.log_out_everywhere(token.user, but=kept)

    @rule(name=names, everybody=st.sampled_from([False, False, True]))
    def revoke_many(self, name: str, everybody: bool) -> None:
        user = self.user(name)
        if not everybody and not user.exists:
            return
        app.revoke(**({"all_users": True} if everybody else {"user": name}))
        for one in self.oracle.users if everybody else [user]:
            if one.exists:
                self.oracle.log_out_everywhere(one)

    @rule(some=st.sets(names, min_size=1), shape=st.sampled_from(["queryset", "slice", "keys"]))
    def end_for_some(self, some: set[str], shape: str) -> None:
        users = [user for user in map(self.user, some) if user.exists]
        keys = sorted(user.pk for user in users)
        found = Users.objects.filter(pk__in=keys)
        named = {"queryset": found, "slice": found.order_by("pk")[:1], "keys": keys}
        sessions.end_for(named[shape])
        for user in users:
            if shape != "slice" or user.pk == keys[0]:
                self.oracle.log_out_everywhere(user)

    @rule(
        name=names,
        what=st.sampled_from(["password", "bulk password", "deactivate", "activate", "delete"]),
    )
    def change_user(self, name: str, what: str) -> None:
        user = self.user(name)
        if not user.exists:
            self.sign_up(name)
        elif what == "password":
            self._change_password(user)
        elif what == "bulk password":
            stored = make_password(self.new_secret(user))
            Users.objects.filter(pk=user.pk).update(password=stored)
            user.password = get_md5_hash_password(stored)
        elif what == "delete":
            self.row(user).delete()
            self.oracle.delete(user)
        else:
            self._set_active(user, active=what == "activate")

    def _change_password(self, user: User) -> None:
        row = self.row(user)
        row.set_password(self.new_secret(user))
        row.save()
        user.password = get_md5_hash_password(row.password)
        self.oracle.log_out_everywhere(user)

    def _set_active(self, user: User, *, active: bool) -> None:
        row = self.row(user)
        row.is_active = active
        row.save()
        if user.active and not active:
            self.oracle.log_out_everywhere(user)
        user.active = active

    # Time.

    @rule(duration=waits, clean_up=st.booleans())
    def wait(self, duration: int, clean_up: bool) -> None:
        self.wait_for(duration)
        if clean_up:
            app.clean_up()

    @rule(token=tokens, late=st.sampled_from([-300, 0, 300, None]), clean_up=st.booleans())
    def wait_for_the_end(self, token: Token, late: int | None, clean_up: bool) -> None:
        """Wait until a token expires, or until nothing need be kept for it."""
        world = self.oracle.world
        late = world.leeway + world.margin + 300 if late is None else late + world.leeway
        self.wait_for(max(0, token.expires + late - self.clock.now))
        if clean_up:
            app.clean_up()

    @rule(how=st.sampled_from(["forget", "reset", "strict", "cached"]))
    def change_the_cache(self, how: str) -> None:
        if how == "forget":
            snapshot.forget(using="default")
        elif how == "reset":
            app.forget_snapshots()
        else:
            self.cache_for(1000 if how == "cached" else 0)

    def cache_for(self, duration: int) -> None:
        self._stack.enter_context(override_settings(TOKENS_CHECK_MAX_AGE=lasting(duration)))

    # Transactions.

    @rule(
        token=tokens,
        what=st.sampled_from(["here", "everywhere", "password"]),
        duration=st.sampled_from([0, 0, 1500, 20_000]),
        commits=st.booleans(),
    )
    def in_a_transaction(self, token: Token, what: str, duration: int, commits: bool) -> None:
        if not token.user.exists:
            return
        with nullcontext() if commits else self.oracle.undoing():
            secret = self.secret(token.user)
            with suppress(Undone), transaction.atomic():
                self._revoke_inside(token, what)
                self.wait_for(duration)
                self.refused_now()
                if not commits:
                    self._secrets[token.user.pk] = secret
                    raise Undone
            if what != "here":
                token.user.cut_off_at_most = self.clock.now

    def _revoke_inside(self, token: Token, what: str) -> None:
        if what == "here":
            AnyToken(token.raw, verify=False).blacklist()
            self.oracle.log_out(token)
        elif what == "everywhere":
            sessions.end_all(self.row(token.user))
            self.oracle.log_out_everywhere(token.user)
        else:
            self._change_password(token.user)


RULES = [name for name in dir(EveryRule) if hasattr(getattr(EveryRule, name), RULE_MARKER)]


def biased(*only: str, **values: Any) -> type[EveryRule]:
    """Return the machine with some settings fixed, and with these rules only, if any are named."""
    fixed = Machine.worlds.map(lambda world: replace(world, **values))
    without = set(RULES).difference(only) if only else set()
    return type("Biased", (EveryRule,), {"worlds": fixed, **dict.fromkeys(without)})
