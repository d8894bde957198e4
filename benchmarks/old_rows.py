"""Fill simplejwt's tables, then time the import: ``python -m benchmarks.old_rows ROWS``.

Uses the database of DATABASE_URL, which must be empty, and prints seconds and peak memory.
"""

import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

ROWS_IN_BATCH = 10_000


def fill(rows: int) -> None:
    """Make ``rows`` tokens of 1,000 users, all blacklisted, within the last 200 days."""
    from django.contrib.auth.models import User
    from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
    from rest_framework_simplejwt.tokens import RefreshToken

    User.objects.bulk_create(User(username=f"u{number}") for number in range(1_000))
    users = list(User.objects.values_list("pk", flat=True))
    now = datetime.now(UTC)
    for start in range(0, rows, ROWS_IN_BATCH):
        made = []
        for number in range(start, min(start + ROWS_IN_BATCH, rows)):
            token: Any = RefreshToken()
            token["user_id"] = str(users[number % len(users)])
            created = now - timedelta(days=200) * (1 - number / rows)
            token.set_iat(at_time=created)
            token.set_exp(from_time=created)
            made.append(
                OutstandingToken(
                    user_id=int(token["user_id"]),
                    jti=token["jti"],
                    token=str(token),
                    created_at=created,
                    expires_at=created + timedelta(days=1),
                )
            )
        OutstandingToken.objects.bulk_create(made)
        ids = OutstandingToken.objects.filter(jti__in=[one.jti for one in made])
        pks = ids.order_by("pk").values_list("pk", flat=True)
        BlacklistedToken.objects.bulk_create(BlacklistedToken(token_id=pk) for pk in pks)


def measure() -> None:
    """Import in this process, and print what it took."""
    import django
    from django.conf import settings

    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    django.setup()
    settings.DEBUG = False  # or Django would keep the text of each statement
    from tokens import simplejwt_import

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("first", "again"):
        begun = time.monotonic()
        report = simplejwt_import.run(using="default", longest=timedelta(days=400))
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"{name}: {report.read:,} rows, {report.imported:,} imported, {report.known:,} known,"
            f" {seconds:.1f} s, {before // 1024} to {peak // 1024} MB"
        )


def main(arguments: list[str]) -> None:
    if arguments == ["measure"]:
        measure()
        return
    environment = os.environ | {"DEBUG": "1", "DJANGO_SETTINGS_MODULE": "project.settings"}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)
    from django.core.management import call_command

    import tests.old_project  # noqa: F401  (configures Django as a project of simplejwt)

    call_command("migrate", "token_blacklist", verbosity=0)
    fill(int(arguments[0]))
    child = [sys.executable, "-m", "benchmarks.old_rows", "measure"]
    subprocess.run(child, env=environment, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
