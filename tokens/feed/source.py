"""Asking for the feed over HTTP."""

import json
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .errors import FeedError

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]

# Nearly two million entries take 20 MB.
MOST_BYTES = 100_000_000

# Seconds that a complete answer may take: the server reads them all first.
LONGEST = 60.0


class _NoRedirects(HTTPRedirectHandler):
    """The headers carry a secret, which must not follow a redirect to somebody else."""

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any
    ) -> None:
        return None


class Source:
    """The address of a feed. ``headers`` name the caller, or return what does."""

    def __init__(self, url: str, *, headers: Headers, timeout: float) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(
                f"{url!r} is no address of a feed: it must begin with https:// or http://"
            )
        self._url, self._headers = url, headers
        self._timeout, self._longest = timeout, max(timeout, LONGEST)
        self._open = build_opener(_NoRedirects).open

    def get(self, cursor: str | None) -> Mapping[str, Any]:
        """Return what was revoked since ``cursor``, or all; raise FeedError without an answer."""
        url, timeout = self._url, self._longest if cursor is None else self._timeout
        if cursor is not None:
            url += f"{'&' if urlsplit(url).query else '?'}since={quote(cursor)}"
        headers = self._headers() if callable(self._headers) else self._headers
        request = Request(url, headers={**headers, "Accept": "application/json"})  # noqa: S310
        try:
            with self._open(request, timeout=timeout) as response:
                body = response.read(MOST_BYTES + 1)
        except HTTPError as error:
            with error:
                raise FeedError(f"the feed answered {error.code}") from error
        except (OSError, HTTPException, ValueError) as error:
            raise FeedError(f"the feed does not answer: {error}") from error
        if len(body) > MOST_BYTES:
            raise FeedError("the answer of the feed is too long")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise FeedError("the answer is not that of a feed") from error
        if not isinstance(found, dict):
            raise FeedError("the answer is not that of a feed")
        return found
