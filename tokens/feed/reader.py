"""A feed that keeps a copy of itself young, in a thread of each process that asks."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from . import clocks
from .copy import ClockSetBack, Copy, merged
from .errors import FeedTooOld
from .source import Headers, Source

logger = logging.getLogger(__name__)

# Seconds after which all is read again.
COMPLETE_EVERY = 60.0

# The same if the clock of the feed may have been set back: slow answers can't tell.
SOON = 10.0


class Feed:
    """Decides about access tokens from a copy of ``GET revocations/`` in this process.

    What it accepts had not been revoked ``max_age`` seconds ago: the answer to the logout was not
    sent earlier. It refuses to answer from an older copy. ``headers`` name the caller, such as
    ``{"Authorization": "Basic …"}``, or are a function that returns them. ``timeout``: how many
    seconds a request may take, and how long a question waits for a copy that is young enough.

    A thread asks what is new twice in ``max_age``, from the first question on until ``close``. Once
    a minute another one gets everything again: what was un-revoked is gone from then on. A process
    that is forked later starts its own threads.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Headers | None = None,
        max_age: float = 1.0,
        timeout: float = 5.0,
    ) -> None:
        if not max_age > 0 or not timeout > 0:
            raise ValueError("max_age and timeout must be above zero")
        self.max_age, self.timeout = max_age, timeout
        self._source = Source(url, headers=headers or {}, timeout=timeout)
        self._copy: Copy | None = None
        self._error: Exception | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._completing: threading.Thread | None = None
        self.renew()
        _feeds.add(self)

    def refuses(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the claims of an access token are refused.

        Verify the token first: its signature, ``exp``, issuer, audience, and that its type is
        "access". Raises NotCovered if no copy can tell: ask ``introspect/``, or refuse the token.
        Raises FeedTooOld if there is no copy that is young enough. Both are FeedError; never accept
        the token then.
        """
        return self._young_copy().refuses(claims)

    @property
    def age(self) -> float | None:
        """How old the copy is, in seconds; None if there is none."""
        copy = self._copy
        return None if copy is None else self._age(copy)

    def close(self) -> None:
        """Stop asking for the feed. Another question starts it again."""
        self._over.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(self.timeout)

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def renew(self) -> None:
        """Begin anew in a forked child: no thread of the parent's goes on here."""
        self._thread = self._completing = None
        self._complete_at = 0.0
        self._starting, self._installing = threading.Lock(), threading.Lock()
        self._renewed = threading.Condition()

    def _young_copy(self) -> Copy:
        copy = self._copy
        if copy is not None and self._thread is not None and self._age(copy) <= self.max_age:
            return copy
        self._start()
        until = time.monotonic() + self.timeout
        with self._renewed:
            while (copy := self._copy) is None or self._age(copy) > self.max_age:
                if not self._renewed.wait(until - time.monotonic()) and time.monotonic() >= until:
                    raise FeedTooOld(self._why(copy)) from self._error
        return copy

    def _why(self, copy: Copy | None) -> str:
        if copy is None:
            return f"the feed has not been read: {self._error or 'no answer yet'}"
        return f"the copy of the feed is {self._age(copy):.1f} s old: {self._error or 'no answer'}"

    def _age(self, copy: Copy) -> float:
        return clocks.since(copy.started)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._over = threading.Event()
                self._thread = threading.Thread(
                    target=self._keep_young, args=(self._over,), name="tokens.feed", daemon=True
                )
                self._thread.start()

    def _keep_young(self, over: threading.Event) -> None:
        pause = 0.0
        while not over.wait(pause):
            started = clocks.now()
            try:
                self._renew(started)
            except Exception as error:  # also one of the caller's ``headers``: the thread goes on
                if self._error is None:
                    logger.warning("the feed can't be read: %s", error, exc_info=True)
                self._error = error
            else:
                self._error = None
            with self._renewed:
                self._renewed.notify_all()
            # Failures, too, wait at least for a moment.
            pause = max(self.max_age / 2 - clocks.since(started), self.max_age / 20)

    def _renew(self, started: clocks.Moment) -> None:
        before = self._copy
        if before is None:
            self._read_all()
            return
        due = self._complete_at if before.is_sure else self._complete_at - COMPLETE_EVERY + SOON
        if time.monotonic() >= due and self._completing is None:
            self._complete_later(before)
        given = self._source.get(before.cursor)
        ended = clocks.now()
        try:
            with self._installing:  # a complete answer may have come meanwhile
                self._copy = merged(self._copy, given, started=started, ended=ended)
        except ClockSetBack:
            self._read_all()

    def _read_all(self) -> None:
        started = clocks.now()
        given = self._source.get(None)
        copy = merged(None, given, started=started, ended=clocks.now())
        with self._installing:
            self._copy = copy
        self._complete_at = time.monotonic() + COMPLETE_EVERY

    def _complete_later(self, before: Copy) -> None:
        """Get everything again in another thread, which may take longer than a copy may be old."""
        copy = self._copy = before.awaiting()
        self._complete_at = time.monotonic() + COMPLETE_EVERY
        self._completing = threading.Thread(
            target=self._complete, args=(copy.keys,), name="tokens.feed complete", daemon=True
        )
        self._completing.start()

    def _complete(self, keys: object) -> None:
        """Replace ``keys`` by those of a complete answer, unless another one has come before it."""
        started = clocks.now()
        try:
            given = self._source.get(None)
            complete = merged(None, given, started=started, ended=clocks.now())
            with self._installing:
                if self._copy is not None and self._copy.keys is keys:
                    self._copy = self._copy.completed(complete)
        except Exception as error:  # the copy is right without it
            logger.warning("the feed can't be read again: %s", error, exc_info=True)
        finally:
            self._completing = None


_feeds: WeakSet[Feed] = WeakSet()


def _after_fork() -> None:
    for feed in _feeds:
        feed.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
