import logging
from dataclasses import asdict

from django.conf import settings
from django.core.cache import cache
from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tokens import blacklist, cleanup, snapshot
from tokens.api.schema import ERRORS
from tokens.cleanup import Status
from tokens.conf import conf
from tokens.formats import Encoder
from tokens.metrics import ChecksCollector, registry
from tokens.models import CleanupRun
from tokens.schedule import crontab

logger = logging.getLogger(__name__)

_STATE = "project.health.state"


@require_safe
@never_cache
@transaction.non_atomic_requests  # the page must still work if the database does not
def home(request: HttpRequest) -> HttpResponse:
    """Show what this is, how it is doing, and where to go next."""
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
    """Report whether the database answers and the cleanup does its work.

    503 if the database can't be read, and with ``?strict=1`` also if the cleanup is overdue. The
    state is at most five seconds old; a run that has ended and an outage show at once.

    Use it for readiness and alerts, not for liveness: a restart would not fix any of this.
    """
    try:
        state = _state()
    except Error:
        logger.exception("the database can't be read")
        return JsonResponse({"status": "error", "database": "error"}, status=503)
    facts = asdict(state) | {"crontab": _crontab()}
    # Host names and database errors are not for the public.
    del facts["last_host"], facts["last_error"]
    verdict = "overdue" if state.overdue else "ok"
    body = {"status": verdict, "database": "ok", "cleanup": facts, "checks": _checks()}
    strict = request.GET.get("strict", "") not in ("", "0")
    return JsonResponse(body, encoder=Encoder, status=503 if strict and state.overdue else 200)


@require_safe
@never_cache
@transaction.non_atomic_requests
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the state of the cleanup and of this process's cached checks, for Prometheus.

    403 for those who are not in INTERNAL_IPS.

    Each scrape asks the database up to seven times.
    """
    if not settings.DEBUG and request.META.get("REMOTE_ADDR") not in settings.INTERNAL_IPS:
        return HttpResponseForbidden("Only for INTERNAL_IPS.\n", content_type="text/plain")
    ours = registry()
    ours.register(ChecksCollector())
    return HttpResponse(generate_latest(ours), content_type=CONTENT_TYPE_LATEST)


def _state() -> Status:
    """Return the state of the cleanup, cached for five seconds, or until a run starts or ends.

    Anybody may ask, and each time would cost up to fourteen statements. Raises the database's
    error: whether it answers, and has our tables, is asked each time.
    """
    runs = CleanupRun.objects.using(blacklist.database()).order_by("-pk")
    newest = runs.values_list("pk", "outcome").first()
    try:
        known: tuple[object, Status] | None = cache.get(_STATE)
    except Exception:  # Each cache has errors of its own.
        logger.warning("the cache can't be read", exc_info=True)
        return cleanup.status()
    if known is not None and known[0] == newest:
        return known[1]
    state = cleanup.status()
    try:
        cache.set(_STATE, (newest, state), timeout=settings.HEALTH_CACHE_SECONDS)
    except Exception:
        logger.warning("the cache can't be written", exc_info=True)
    return state


def _checks() -> dict[str, object]:
    """Return how this process checks tokens. Each process of a server has its own numbers."""
    max_age = conf.TOKENS_CHECK_MAX_AGE.total_seconds()
    return {"mode": "cached" if max_age else "strict", "max_age": max_age} | asdict(
        snapshot.facts()
    )


def _crontab() -> str | None:
    """Return the state of the crontab line, read at most once a minute.

    Anyone may call this endpoint and reading the crontab starts a process, so this never reads it
    without a working cache.
    """
    try:
        return cache.get_or_set("project.health.crontab", _crontab_now, timeout=60)
    except Exception:  # Each cache has errors of its own.
        logger.warning("the state of the crontab can't be told", exc_info=True)
        return crontab.State.UNKNOWN.value


def _crontab_now() -> str | None:
    found = crontab.inspect()
    return found.state.value if found else None


class MeSerializer(serializers.Serializer[dict[str, str]]):
    username = serializers.CharField(help_text="The name that you log in with.")


@method_decorator(never_cache, name="dispatch")
class MeView(APIView):
    """Return your user name. Any view that uses the authentication class refuses revoked tokens."""

    @extend_schema(
        operation_id="me",
        summary="Who am I?",
        responses={200: MeSerializer, 401: ERRORS[401], 503: ERRORS[503]},
    )
    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})
