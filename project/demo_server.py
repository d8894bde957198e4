"""A server of the project for as long as the demo needs one."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import httpx
from django.conf import settings

LINES_OF_SERVER = 30


class Failed(Exception):
    """A step did not do what it should. The message says what it did."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]


@contextmanager
def server(lifetimes: dict[str, str]) -> Iterator[httpx.Client]:
    """Serve the project on a free local port, and stop it afterwards.

    Whatever fails meanwhile says what the server wrote.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command("runserver", "--noreload", "127.0.0.1:0"),  # the system chooses the port
            env=os.environ | lifetimes,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            address = _address(process, output)
            # No limit, because a slow answer is none too many; and no proxy of the environment.
            with httpx.Client(base_url=address, timeout=None, trust_env=False) as client:  # noqa: S113
                yield client
        except (Failed, httpx.HTTPError) as error:
            raise Failed(_with_output(error, process, output)) from error
        finally:
            process.kill()
            process.wait()


def _address(process: "subprocess.Popen[bytes]", output: IO[str]) -> str:
    """Return where the server listens, as soon as it says so. Raises Failed if it ends instead."""
    begun = told = time.monotonic()
    while True:
        has_ended = process.poll() is not None  # before what it wrote is read
        output.seek(0)
        for line in output:
            if " development server at http" in line and line.endswith("\n"):
                return line.split()[-1]
        if has_ended:
            raise Failed("The server did not start.")
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"  ... the server has been starting for {told - begun:.0f} s", flush=True)
        time.sleep(0.1)


def _with_output(error: Exception, process: "subprocess.Popen[bytes]", output: IO[str]) -> str:
    said = str(error) or type(error).__name__
    if isinstance(error, httpx.HTTPError):
        said = f"The server can't be reached: {said}"
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)  # it may be about to end
    if process.poll() is not None:
        said = f"{said}\nThe server has ended, with exit code {process.returncode}."
    output.seek(0)
    lines = output.read().rstrip().splitlines()[-LINES_OF_SERVER:]
    return "\n".join([said, "The last lines of the server:", *(f"  {line}" for line in lines)])
