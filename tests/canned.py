"""An HTTP server that answers what a test wants, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .processes import PATIENCE


class Canned:
    """What is answered next: a status, headers, and a body; ``gate`` holds answers back.

    ``slow``, if it is given, is the answer to requests without a cursor, which wait for
    ``slow_gate``.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}/revocations/"
        self.status, self.headers, self.body = 200, dict[str, str](), b""
        self.slow: Any = None
        self.make: Callable[[bool], Any] | None = None  # the answer to a request, if it is complete
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.slow_gate = threading.Event()
        self.answered = threading.Condition()

    def say(self, answer: Any, *, status: int = 200, **headers: str) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.headers, self.body, self.status = headers, body, status

    def wait_for_requests(self, more: int) -> None:
        """Wait until so many more requests have come; all but the last have been answered."""
        with self.answered:
            wanted = len(self.asked) + more
            assert self.answered.wait_for(lambda: len(self.asked) >= wanted, timeout=PATIENCE)


@contextmanager
def canned() -> Iterator[Canned]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_slow = state.slow is not None and "since=" not in self.path
            (state.slow_gate if is_slow else state.gate).wait(PATIENCE)
            status, headers, body = state.status, state.headers, state.body
            if state.make is not None:
                body = json.dumps(state.make("since=" not in self.path)).encode()
            if is_slow:
                body = json.dumps(state.slow).encode()
            with state.answered:
                state.asked.append((self.path, dict(self.headers)))
                state.answered.notify_all()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Canned(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        state.gate.set()
        state.slow_gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
