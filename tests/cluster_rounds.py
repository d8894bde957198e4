"""Play rounds against servers of a cluster, and print what came of them: a process of its own.

``python -m tests.cluster_rounds GAME ROUNDS``, with CLUSTER_URLS: an alias and a URL for each
server. Each client is a thread, and talks to one of them.
"""

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .processes import PATIENCE

PASSWORD = "correct horse battery staple"
SPREAD = 0.012  # seconds between the sides of a round, at most
MEETING = 0.3  # seconds that one side waits for the other before it commits, at most

_thread = threading.local()


class ByThread:
    """Send each thread to the server that it talks to, or all reads to a replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return os.environ.get("CLUSTER_REPLICA") or self.db_for_write(model)

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return getattr(_thread, "alias", "default")

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True


class Client:
    """Somebody who talks to one server."""

    def __init__(self, alias: str) -> None:
        from rest_framework.test import APIClient

        self.alias, self.api = alias, APIClient()

    def post(self, path: str, data: Any = None, *, token: str = "") -> tuple[int, Any]:
        _thread.alias = self.alias
        header = {"HTTP_AUTHORIZATION": f"Bearer {token}"} if token else {}
        answer = self.api.post(path, data or {}, format="json", **header)
        return answer.status_code, answer.json() if answer.content else None

    def me(self, token: str) -> int:
        _thread.alias = self.alias
        return int(self.api.get("/api/me/", HTTP_AUTHORIZATION=f"Bearer {token}").status_code)

    def log_in(self, name: str, password: str = PASSWORD) -> tuple[int, Any]:
        return self.post("/api/token/", {"username": name, "password": password})

    def refresh(self, token: str) -> tuple[int, Any]:
        return self.post("/api/token/refresh/", {"refresh": token})


def meet() -> None:
    """Wait for the other side of the round, once: both commit at the same moment."""
    barrier, _thread.meeting = getattr(_thread, "meeting", None), None
    if barrier is not None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(MEETING)
        time.sleep(random.uniform(0, SPREAD / 4))  # noqa: S311


def meet_at_commits() -> None:
    """Let the sides meet before a COMMIT, and before a login, which is one statement."""
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.signals import connection_created

    commit = BaseDatabaseWrapper._commit

    def meet_and_commit(self: Any) -> None:
        meet()
        commit(self)

    def execute(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        logs_in = sql.startswith("INSERT INTO `tokens_tokensession`")
        if logs_in and not context["connection"].in_atomic_block:
            meet()
        return execute(sql, params, many, context)

    def connected(*, connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(execute)

    BaseDatabaseWrapper._commit = meet_and_commit  # type: ignore[method-assign]
    connection_created.connect(connected, weak=False)


def together(*sides: Callable[[], Any]) -> list[Any]:
    """Return what each side, in a thread of its own and a moment apart, answered."""
    from django.db import connections

    barrier, meeting = threading.Barrier(len(sides)), threading.Barrier(len(sides))
    answers = [None] * len(sides)

    def play(number: int, side: Callable[[], Any], delay: float) -> None:
        try:
            for connection in connections.all():
                connection.cursor().close()
            _thread.meeting = meeting
            barrier.wait(PATIENCE)
            time.sleep(delay)
            answers[number] = side()
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=play, args=(number, side, random.uniform(0, SPREAD)))  # noqa: S311
        for number, side in enumerate(sides)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class Game:
    """Rounds of one kind, between the first two servers."""

    def __init__(self, aliases: list[str]) -> None:
        self.one, self.two = Client(aliases[0]), Client(aliases[-1])
        self.count: Counter[str] = Counter()

    def new_user(self) -> Any:
        from django.contrib.auth import get_user_model

        _thread.alias = self.one.alias
        name = f"user-{random.getrandbits(60):x}"
        user = get_user_model().objects.create_user(name, password=PASSWORD)
        self._wait_for(user)
        return user

    def _wait_for(self, user: Any) -> None:
        from django.contrib.auth import get_user_model

        while not get_user_model().objects.using(self.two.alias).filter(pk=user.pk).exists():
            time.sleep(0.001)

    def plain_token(self, user: Any) -> str:
        from rest_framework_simplejwt.tokens import RefreshToken

        return str(RefreshToken.for_user(user))

    def survives(self, answer: tuple[int, Any]) -> bool:
        """Count the answer; return whether what it gave is of use afterwards, on any server."""
        status, body = answer
        self.count[f"{status}"] += 1
        if status != 200:
            return False
        alive = [self.two.refresh(body["refresh"])[0], self.one.me(body["access"])]
        self.count["survivors"] += 200 in alive
        return 200 in alive

    def ended(self, answer: tuple[int, Any]) -> None:
        self.count[f"ended: {answer[0]}"] += 1

    def change_password(self, user: Any, alias: str) -> tuple[int, Any]:
        from django.db import Error

        _thread.alias = alias
        user.set_password("another password of theirs")
        try:
            user.save()
        except Error:
            return 503, None
        return 200, None

    # The games

    def everywhere_and_adoption(self) -> None:
        user = self.new_user()
        token, access = self.plain_token(user), self.one.log_in(user.username)[1]["access"]
        ended, adopted = together(
            lambda: self.one.post("/api/logout/all/", token=access),
            lambda: self.two.refresh(token),
        )
        self.ended(ended)
        if ended[0] == 200:
            self.survives(adopted)

    def password_and_adoption(self) -> None:
        user = self.new_user()
        token = self.plain_token(user)
        ended, adopted = together(
            lambda: self.change_password(user, self.one.alias), lambda: self.two.refresh(token)
        )
        self.ended(ended)
        if ended[0] == 200:
            self.survives(adopted)

    def password_and_login(self) -> None:
        user = self.new_user()
        ended, logged_in = together(
            lambda: self.change_password(user, self.one.alias),
            lambda: self.two.log_in(user.username),
        )
        self.ended(ended)
        if ended[0] == 200:
            self.survives(logged_in)

    def everywhere_and_login(self) -> None:
        """A login that is answered after the logout came after it, and lives."""
        user = self.new_user()
        access = self.one.log_in(user.username)[1]["access"]
        ended, logged_in = together(
            lambda: (self.one.post("/api/logout/all/", token=access), time.monotonic()),
            lambda: (self.two.log_in(user.username), time.monotonic()),
        )
        self.ended(ended[0])
        if ended[0][0] == 200 and logged_in[1] < ended[1]:
            self.survives(logged_in[0])
        else:
            self.count["login later"] += 1

    def everywhere_and_sessions(self) -> None:
        user = self.new_user()
        pair = self.one.log_in(user.username)[1]
        ended, *refreshed = together(
            lambda: self.one.post("/api/logout/all/", token=pair["access"]),
            *[lambda: self.two.refresh(pair["refresh"])] * 3,
        )
        self.ended(ended)
        for answer in refreshed if ended[0] == 200 else []:
            self.survives(answer)

    def logout_twice(self) -> None:
        user = self.new_user()
        token = self.one.log_in(user.username)[1]["refresh"]
        for answer in together(
            *[lambda: self.one.post("/api/logout/", {"refresh": token})] * 2,
            *[lambda: self.two.post("/api/logout/", {"refresh": token})] * 2,
        ):
            self.ended(answer)

    def everywhere_twice(self) -> None:
        user = self.new_user()
        access = self.one.log_in(user.username)[1]["access"]
        other = self.two.log_in(user.username)[1]["access"]
        for answer in together(
            lambda: self.one.post("/api/logout/all/", token=access),
            lambda: self.two.post("/api/logout/all/", token=other),
        ):
            self.ended(answer)

    def adoption_twice(self) -> None:
        user = self.new_user()
        token = self.plain_token(user)
        answers = together(
            *[lambda: self.one.refresh(token)] * 2, *[lambda: self.two.refresh(token)] * 2
        )
        for status, _ in answers:
            self.count[f"{status}"] += 1
        jtis = {_jti(body["refresh"]) for status, body in answers if status == 200}
        self.count["more than one successor"] += len(jtis) > 1

    def logout_and_refreshes(self) -> None:
        """Log out by the header, as fault 5 has it, while other tabs refresh."""
        user = self.new_user()
        pair = self.one.log_in(user.username)[1]
        ended, *refreshed = together(
            lambda: self.one.post("/api/logout/", token=pair["access"]),
            *[lambda: self.two.refresh(pair["refresh"])] * 4,
        )
        self.ended(ended)
        for answer in refreshed if ended[0] == 204 else []:
            self.survives(answer)

    def logins_at_once(self) -> None:
        user = self.new_user()
        for answer in together(
            *[lambda: self.one.log_in(user.username)] * 2,
            *[lambda: self.two.log_in(user.username)] * 2,
        ):
            self.ended(answer)

    def lag(self) -> None:
        """The second server falls behind; count what it answers about what it does not know yet."""
        user = self.new_user()
        out, on = (self.one.log_in(user.username)[1] for _ in range(2))
        while self.two.me(on["access"]) != 200:
            time.sleep(0.01)
        _work_hard(self.one.alias)
        assert self.one.post("/api/logout/", {"refresh": out["refresh"]})[0] == 204
        begun, accepted = time.monotonic(), 0.0
        while (asked := time.monotonic()) - begun < 2:
            if self.two.me(out["access"]) == 200:
                accepted = asked - begun
        self.count["rounds with acceptance"] += accepted > 0
        self.count["longest, in ms"] = max(self.count["longest, in ms"], round(accepted * 1000))
        _work_hard(self.one.alias)
        newer = self.one.refresh(on["refresh"])[1]
        self.count[f"its successor: {self.two.refresh(newer['refresh'])[0]}"] += 1
        _work_hard(self.one.alias)
        newest = self.one.log_in(user.username)[1]
        self.count[f"a new login: {self.two.refresh(newest['refresh'])[0]}"] += 1
        _work_hard(self.one.alias)
        self.change_password(user, self.one.alias)
        self.count[f"login with the old password: {self.two.log_in(user.username)[0]}"] += 1

    def standby(self) -> None:
        """Everything is read from a standby that has been behind since before this began."""
        from django.contrib.auth import get_user_model
        from django.db import connections
        from django.test.utils import CaptureQueriesContext

        from tokens.jwt import RefreshToken
        from tokens.models import TokenSession

        _thread.alias, model = "default", get_user_model()
        user = model.objects.create_user(f"new-{random.getrandbits(60):x}", password=PASSWORD)
        pair = RefreshToken.for_user(user)
        one = Client("default")
        with CaptureQueriesContext(connections["replica"]) as asked:
            self.count[f"a new user, request: {one.me(str(pair.access_token))}"] += 1
        self.count[f"on the replica, in strict mode: {len(asked)}"] += 1
        status, body = one.refresh(str(pair))
        self.count[f"a new user's token for_user: {status}"] += 1
        self.count[f"request: {one.me(body['access'])}"] += 1
        status, body = one.refresh(body["refresh"])
        self.count[f"refresh: {status}"] += 1
        sid = TokenSession.objects.using("default").get(user=user).sid
        self.count[f"the admin ends it: {_end_in_admin(str(sid))}"] += 1
        self.count[f"revoked, request: {one.me(body['access'])}"] += 1
        self.count[f"revoked, refresh: {one.refresh(body['refresh'])[0]}"] += 1
        plain = self.plain_token(user)
        model.objects.using("default").filter(pk=user.pk).update(is_active=False)
        self.count[f"adoption of a deactivated user: {one.refresh(plain)[0]}"] += 1


def _end_in_admin(sid: str) -> str:
    """End a session as the admin's action does, and return what it says."""
    from django.contrib.admin import site
    from django.contrib.auth import get_user_model
    from django.contrib.messages.storage.fallback import FallbackStorage
    from django.test import RequestFactory

    from tokens.models import TokenSession

    model, admin = get_user_model(), site._registry[TokenSession]
    root, _ = model.objects.using("default").get_or_create(
        username="root", defaults={"is_superuser": True, "is_staff": True}
    )
    data = {"action": "end_selected", "_selected_action": [sid], "post": "yes"}
    request: Any = RequestFactory().post("/admin/tokens/tokensession/", data)
    request.user, request.session = root, {}
    request._messages = FallbackStorage(request)
    request._dont_enforce_csrf_checks = True
    admin.changelist_view(request)
    return " ".join(str(message) for message in request._messages)


def _work_hard(alias: str) -> None:
    """Change so many rows at once that the other servers need a while to follow."""
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE heavy SET n = n + 1")


def _jti(token: str) -> str:
    import jwt

    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


def main(game: str, rounds: int) -> None:
    import django

    django.setup()
    if os.environ.get("CLUSTER_BLIND"):  # to see that the rounds find what they look for
        from tokens.databases.innodb import InnoDB

        InnoDB.has_other_writers = lambda _self: False  # type: ignore[method-assign]
    meet_at_commits()
    played = Game(list(json.loads(os.environ["CLUSTER_URLS"])))
    for _ in range(rounds):
        getattr(played, game)()
    print(json.dumps(played.count))  # noqa: T201


if __name__ == "__main__":
    # As the router that the settings name, and not as ``__main__``.
    from tests import cluster_rounds

    cluster_rounds.main(sys.argv[1], int(sys.argv[2]))
