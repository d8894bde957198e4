"""Why a copy of the feed can't decide about a token. Never accept one then."""


class FeedError(Exception):
    """The copy can't decide about a token."""


class FeedTooOld(FeedError):
    """The copy is older than it may be, because the feed can't be read."""


class NotCovered(FeedError):
    """No copy can decide about this token: ask ``introspect/``, or refuse it."""
