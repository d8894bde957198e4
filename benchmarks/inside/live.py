"""Log in and refresh, as clients do for weeks, and look at what is stored then."""

from typing import Any

from django.utils.module_loading import import_string
from rest_framework_simplejwt.settings import api_settings

from benchmarks.inside import tables
from benchmarks.inside.migrate import credentials


def main(logins: int, refreshes: int) -> dict[str, Any]:
    tables.compact()
    empty = tables.size()
    for number in range(logins):
        token = _answer(api_settings.TOKEN_OBTAIN_SERIALIZER, credentials(number))["refresh"]
        for _ in range(refreshes):
            token = _answer(api_settings.TOKEN_REFRESH_SERIALIZER, {"refresh": token})["refresh"]
    found = tables.size() - empty
    tables.compact()
    return {"rows": tables.rows(), "bytes": found, "bytes_compact": tables.size() - empty}


def _answer(serializer: str, data: dict[str, str]) -> dict[str, str]:
    asked = import_string(serializer)(data=data)
    asked.is_valid(raise_exception=True)
    answer: dict[str, str] = asked.validated_data
    return answer
