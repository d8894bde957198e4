"""The project with one way to authenticate, which BENCH_WAY names."""

import os
from datetime import timedelta

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import REST_FRAMEWORK, SIMPLE_JWT
from benchmarks.ways import STRICT, WAYS

_way = WAYS[os.environ.get("BENCH_WAY", STRICT.name)]

ROOT_URLCONF = "benchmarks.checks_urls"
REST_FRAMEWORK = REST_FRAMEWORK | {"DEFAULT_AUTHENTICATION_CLASSES": [_way.authentication]}
SIMPLE_JWT = SIMPLE_JWT | {"AUTH_TOKEN_CLASSES": [_way.token]}
TOKENS_CHECK_MAX_AGE = timedelta(seconds=_way.max_age)

# simplejwt's classes are compared as they are.
TOKENS_PATCH_SIMPLEJWT = False
