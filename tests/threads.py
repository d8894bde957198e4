"""Run something in many threads at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

from .processes import PATIENCE

T = TypeVar("T")


def at_once(count: int, function: Callable[[], T]) -> list[T]:
    """Return what ``count`` threads got that called ``function`` when all of them were ready."""
    return each_at_once([function] * count)


def each_at_once(functions: list[Callable[[], T]]) -> list[T]:
    """Return what each function answered, called in a thread of its own when all were ready."""
    barrier = threading.Barrier(len(functions), timeout=PATIENCE)

    def call(function: Callable[[], T]) -> T:
        try:
            barrier.wait()
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(call, functions))
