"""Two projects that serve the endpoints: the demo project, and one as Django makes it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.processes import wait_until
from tests.test_servers import free_port

from .tools import BASE, environment

# "ada" is who the examples of the schema log in.
USERS = [
    {"username": name, "password": "correct horse battery staple"} for name in ("ada", "grace")
]

# What the how-to page says, and quick passwords.
SETTINGS = """
INSTALLED_APPS += ["rest_framework", "drf_spectacular", "tokens"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tokens.api.authentication.JWTAuthentication"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY += "long enough for HMAC with SHA-256"
"""
URLS = """
from django.urls import include, path

urlpatterns = [path("api/", include("tokens.urls"))]
"""
ADD_USERS = """
from django.contrib.auth.models import User
for one in {}: User.objects.create_superuser(**one)
"""


@dataclass
class Project:
    """A project in ``folder``; ``place`` is where its database and its clients go."""

    name: str
    folder: Path
    settings: str
    place: Path
    url: str = ""

    @property
    def schema(self) -> Path:
        return self.place / "schema.yaml"

    def manage(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self.folder / "manage.py"), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return environment() | {
            "DEBUG": "1",
            "LOG_LEVEL": "ERROR",
            "DATABASE_URL": f"sqlite:///{self.place / 'db.sqlite3'}",
            "DJANGO_SETTINGS_MODULE": self.settings,
            "PYTHONPATH": str(BASE),
        }

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            self.manage(*arguments),
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Serve the project with two users, and its schema in a file, until the block ends."""
        self.run("spectacular", "--validate", "--fail-on-warn", "--file", str(self.schema))
        self.run("migrate", "--verbosity", "0")
        self.run("shell", "--command", ADD_USERS.format(USERS))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        log = self.place / "log"
        command = self.manage("runserver", "--noreload", "--nothreading", f"127.0.0.1:{port}")
        with (
            log.open("w") as output,
            subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=output, stderr=output
            ) as child,
        ):
            try:
                wait_until(lambda: self.answers(child, log))
                yield
            finally:
                child.terminate()

    def answers(self, child: Any, log: Path) -> bool:
        assert child.poll() is None, log.read_text()
        try:
            return self.post("token/verify/", {}).status_code == 400
        except httpx.TransportError:
            return False

    def post(self, name: str, body: dict[str, str]) -> httpx.Response:
        return httpx.post(f"{self.url}/api/{name}", json=body, timeout=20, verify=False)  # noqa: S501


def demo(place: Path) -> Project:
    return Project("demo", BASE, "tests.clients.settings", place)


def foreign(place: Path) -> Project:
    """Make a project as Django's documentation says, with drf-spectacular's defaults."""
    folder = place / "shop"
    folder.mkdir()
    start = [sys.executable, "-m", "django", "startproject", "shop", str(folder)]
    environ = {"PATH": os.environ["PATH"]}
    subprocess.run(start, env=environ, check=True)
    with (folder / "shop" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (folder / "shop" / "urls.py").write_text(URLS)
    return Project("foreign", folder, "shop.settings", place)
