"""Decide about access tokens in another service, from a copy of ``GET revocations/``.

Needs Python alone, and no Django: ``Feed(url).refuses(claims)``.
"""

from .errors import FeedError, FeedTooOld, NotCovered
from .reader import Feed

__all__ = ["Feed", "FeedError", "FeedTooOld", "NotCovered"]
