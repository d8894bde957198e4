"""gunicorn, serving an installation."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from benchmarks.contenders import Installation

WORKERS, THREADS = 2, 2

_OPTIONS = {
    "--worker-class": "gthread",  # the plain worker closes the connection after each answer
    "--threads": THREADS,
    "--keep-alive": 75,
    "--log-level": "warning",
}


@contextmanager
def serving(place: Installation, *, workers: int = WORKERS) -> Iterator[int]:
    """Serve ``place`` in so many processes and give the port; stop afterwards."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    options = [
        str(word) for option in {"--workers": workers, **_OPTIONS}.items() for word in option
    ]
    command = [sys.executable, "-m", "gunicorn", *options, "--no-control-socket"]
    process = subprocess.Popen(
        [*command, "--bind", f"127.0.0.1:{port}", "benchmarks.wsgi"], env=place.environment
    )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("gunicorn did not start; its message is above.")
