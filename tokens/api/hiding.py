"""Keep passwords and tokens out of Django's error mails and error pages.

Django's decorators mark POST parameters and frames, and its filters obey them. That leaves gaps:
the *names* of parameters (``curl -d`` with a bare token or with JSON sends it as a name), frames
outside the view (a renderer that fails has the tokens of the answer), and a header with a name of
its own. So a marked request also gets a filter for its reports, derived from the project's.
"""

from collections.abc import ItemsView
from functools import lru_cache
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter, get_exception_reporter_filter
from rest_framework.request import Request
from rest_framework_simplejwt.settings import api_settings

STARS = SafeExceptionReporterFilter.cleansed_substitute


def hide_secrets(request: HttpRequest | Request | None) -> None:
    """Hide what a request carries, and the variables of all its frames, from error reports.

    For requests whose parameters are passwords or tokens.
    """
    http = _http(request)
    if http is not None:
        http.sensitive_post_parameters = "__ALL__"  # type: ignore[attr-defined]
        _filter_by(_HidesAll, http)


def hide_header(request: HttpRequest | Request) -> None:
    """Hide the header that carries the token, if its name does not make Django hide it."""
    global _hidden
    asked = SafeExceptionReporterFilter.hidden_settings, api_settings.AUTH_HEADER_NAME
    if asked == _hidden:  # as for nearly every request
        return
    by, header = asked
    if by.search(header):
        _hidden = asked
    elif (http := _http(request)) is not None:
        _filter_by(_HidesHeader, http)


# A pattern of Django's, and the name of a header that it hides.
_hidden: tuple[object, str] = (None, "")


def _http(request: object) -> HttpRequest | None:
    """Return the request that Django reports; None if there is none, as in GraphQL."""
    http = request._request if isinstance(request, Request) else request
    return http if isinstance(http, HttpRequest) else None


def _filter_by(kind: type["_HidesHeader"], request: HttpRequest) -> None:
    current = get_exception_reporter_filter(request)
    if not isinstance(current, kind):
        derived = _derived(kind, type(current))  # type: ignore[arg-type]
        request.exception_reporter_filter = derived()


@lru_cache
def _derived(kind: type, base: type) -> type:
    """Return the filter class ``base`` of the project, which hides what ``kind`` does as well."""
    return type(f"{base.__name__}OfTokens", (kind, base), {})


class _HidesHeader(SafeExceptionReporterFilter):
    def get_safe_request_meta(self, request: HttpRequest) -> dict[str, Any]:
        meta: dict[str, Any] = super().get_safe_request_meta(request)
        return meta | dict.fromkeys(meta.keys() & {api_settings.AUTH_HEADER_NAME}, STARS)


class _HidesAll(_HidesHeader):
    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        return {} if self.is_active(request) else super().get_post_parameters(request)

    def get_safe_cookies(self, request: HttpRequest) -> dict[str, Any]:
        return dict.fromkeys(super().get_safe_cookies(request), STARS)

    def get_traceback_frame_variables(
        self, request: HttpRequest, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        if self.is_active(request):
            return dict.fromkeys(tb_frame.f_locals, STARS).items()
        return super().get_traceback_frame_variables(request, tb_frame)
