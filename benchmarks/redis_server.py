"""The Redis on loopback, or where REDIS_URL says; nothing is written to it."""

import os

from redis import Redis
from redis.exceptions import RedisError


def client() -> Redis:
    """Return a client with persistent connections."""
    return Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))


def answers() -> bool:
    """Return whether a Redis answers."""
    try:
        with client() as redis:
            return bool(redis.ping())
    except RedisError:
        return False
