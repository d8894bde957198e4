"""Log in and refresh, as clients do for weeks, and look at what is stored then."""

import time
from typing import Any

from django.utils.module_loading import import_string
from rest_framework_simplejwt.settings import api_settings

from benchmarks.inside import tables
from benchmarks.inside.migrate import credentials


def main(logins: int, refreshes: int) -> dict[str, Any]:
    tables.compact()
    empty = tables.size()
    obtain, refresh = api_settings.TOKEN_OBTAIN_SERIALIZER, api_settings.TOKEN_REFRESH_SERIALIZER
    chains = [_answer(obtain, credentials(number))["refresh"] for number in range(logins)]
    for _ in range(refreshes):
        time.sleep(1 - time.time() % 1)  # refreshes are minutes apart, and tokens count in seconds
        chains = [_answer(refresh, {"refresh": token})["refresh"] for token in chains]
        tables.vacuum()  # within minutes autovacuum has done it
    found = tables.size() - empty
    tables.compact()
    return {"rows": tables.rows(), "bytes": found, "bytes_compact": tables.size() - empty}


def _answer(serializer: str, data: dict[str, str]) -> dict[str, str]:
    asked = import_string(serializer)(data=data)
    asked.is_valid(raise_exception=True)
    answer: dict[str, str] = asked.validated_data
    return answer
