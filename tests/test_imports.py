"""Imports run one way (the contracts stand in pyproject.toml), and the public names stay."""

import subprocess
import sys

import pytest

from project.settings import BASE_DIR

pytestmark = [pytest.mark.any_database, pytest.mark.slow]


# A project that mounts no view of ours, and whose own view uses our authentication.
BARE = """
import sys
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
        "drf_spectacular", "tokens",
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["tokens.api.authentication.JWTAuthentication"],
        "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    },
)
import django
django.setup()
"""


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_starting_the_app_imports_nothing_that_only_endpoints_need() -> None:
    loaded = 'assert not {"drf_spectacular.plumbing", "rest_framework.views"} & set(sys.modules)'
    run(f"{BARE}\n{loaded}")


def test_the_schema_knows_our_authentication_whatever_is_imported_first() -> None:
    run(
        f"""{BARE}
from django.urls import path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.views import APIView

class Mine(APIView):
    @extend_schema(responses=None)
    def get(self, request):
        pass

schema = SchemaGenerator(patterns=[path("mine/", Mine.as_view())]).get_schema(public=True)
assert {{"jwtAuth": []}} in schema["paths"]["/mine/"]["get"].get("security", []), schema
assert not GENERATOR_STATS, GENERATOR_STATS
"""
    )


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


OPTIONAL = ["django_crontab", "drf_spectacular", "fcntl", "prometheus_client", "tqdm"]


@pytest.mark.parametrize(
    "missing",
    [OPTIONAL, *(pytest.param([one], marks=pytest.mark.thorough) for one in OPTIONAL)],
    ids="-".join,
)
def test_the_app_works_without_what_is_optional(missing: list[str]) -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({missing!r}))
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
    run(code)


def test_templates_work_in_a_project_without_the_admin() -> None:
    """Django imports the template tags of all installed apps for the first template."""
    without = BARE.replace('"django.contrib.admin", ', "")
    assert without != BARE
    run(
        f"{without}\n"
        "from django.template import Context, Engine\n"
        "from django.template.backends.django import DjangoTemplates\n"
        "options = {'NAME': 'x', 'DIRS': [], 'APP_DIRS': True, 'OPTIONS': {}}\n"
        "found = DjangoTemplates(options).from_string('{% load tokens_admin %}fine').render()\n"
        "assert found == 'fine', found\n"
        "assert 'tokens.admin' not in sys.modules\n"
    )
