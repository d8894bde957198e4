"""The demo project as it is in production, with its admin."""

from benchmarks.settings import *  # noqa: F403

ROOT_URLCONF = "project.urls"
