"""Endpoints, and what tells drf-spectacular about them.

The first import of anything in this package registers the extensions, so a schema never lacks them.
The app's start does not: their import takes as long as Django's, and commands have no endpoints.
"""

from django.apps import apps

if apps.is_installed("drf_spectacular"):
    from . import schema  # noqa: F401
