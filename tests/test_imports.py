"""Imports run one way (the contracts stand in pyproject.toml), and the public names stay."""

import subprocess
import sys

import pytest

from project.settings import BASE_DIR

pytestmark = [pytest.mark.any_database, pytest.mark.slow]


def test_imports_run_one_way() -> None:
    lint = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as l; l()"],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert "0 broken" in lint.stdout


@pytest.mark.parametrize(
    "optional", ["django_crontab", "drf_spectacular", "fcntl", "prometheus_client", "tqdm"]
)
def test_the_app_works_without_what_is_optional(optional: str) -> None:
    code = f"""
import sys
sys.modules[{optional!r}] = None
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "tokens"],
    REST_FRAMEWORK={{
        "DEFAULT_AUTHENTICATION_CLASSES": ["tokens.api.authentication.JWTAuthentication"]
    }},
    ROOT_URLCONF="tokens.urls",
)
import django
django.setup()
from django.core.management import call_command
call_command("check")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BASE_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
