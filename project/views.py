import logging
from dataclasses import asdict

from django.core.cache import cache
from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tokens import cleanup
from tokens.metrics import registry
from tokens.models import CleanupRun
from tokens.schedule import installed

logger = logging.getLogger(__name__)


@require_safe
@never_cache
@transaction.non_atomic_requests  # the page is there to say so when the database is not
def home(request: HttpRequest) -> HttpResponse:
    """Say what this is, how it is, and where to go on."""
    context: dict[str, object] = {"base": request.build_absolute_uri("/").rstrip("/")}
    try:
        context["last_success"] = CleanupRun.objects.last_success()
    except Error:
        context["unreadable"] = True
    return render(request, "home.html", context)


@require_safe
@never_cache
@transaction.non_atomic_requests
def health(request: HttpRequest) -> JsonResponse:
    """Say whether the database answers and the cleanup does its work.

    503 if the database can't be read, and with ``?strict=1`` also if the cleanup is overdue or
    falling behind. For readiness and alerts: restarting a process mends none of it.
    """
    try:
        state = cleanup.status()
    except Error:
        logger.exception("the database can't be read")
        return JsonResponse({"status": "error", "database": "error"}, status=503)
    facts = asdict(state) | {"crontab": _crontab()}
    body = {"status": state.verdict, "database": "ok", "cleanup": facts}
    strict = request.GET.get("strict", "") not in ("", "0")
    return JsonResponse(body, status=503 if strict and state.verdict != "ok" else 200)


@require_safe
@never_cache
@transaction.non_atomic_requests
def metrics(request: HttpRequest) -> HttpResponse:
    """Give Prometheus the state of the cleanup; like ``health`` it tells nobody a secret."""
    return HttpResponse(generate_latest(registry()), content_type=CONTENT_TYPE_LATEST)


def _crontab() -> str | None:
    """Return the state of the line in the crontab, asked at most once a minute.

    Asking starts a process, and anybody may call this endpoint: so without a cache nobody asks.
    """
    try:
        return cache.get_or_set("project.health.crontab", _crontab_now, timeout=60)
    except Exception:  # Each cache has errors of its own.
        logger.warning("the state of the crontab can't be told", exc_info=True)
        return installed.State.UNKNOWN.value


def _crontab_now() -> str | None:
    found = installed.crontab()
    return found.state.value if found else None


class MeSerializer(serializers.Serializer[dict[str, str]]):
    username = serializers.CharField()


class MeView(APIView):
    """Who am I? Any view that uses the authentication class refuses revoked tokens."""

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})
