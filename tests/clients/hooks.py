"""What schemathesis loads: each request has tokens of a login of its own, and each answer is noted.

The examples of the schema are the user's name and password, and tokens and a session that nobody
has.
"""

import json
import os
from base64 import urlsafe_b64decode
from typing import Any
from urllib.request import Request, urlopen

import schemathesis

LOGIN = {"username": "ada", "password": "correct horse battery staple"}
EXAMPLE_TOKEN = "eyJhbGciOiJIUzI1NiJ9."
EXAMPLE_SID = "0192f0c1-6a5e-7c3b-9d2f-4b8e1a6c0d37"


def log_in() -> dict[str, str]:
    url = os.environ["API_URL"] + "/api/token/"
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(url, json.dumps(LOGIN).encode(), headers)) as answer:  # noqa: S310
        tokens: dict[str, str] = json.load(answer)
    return tokens


def sid_of(token: str) -> str:
    payload = token.split(".")[1]
    return str(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sid"])


@schemathesis.auth(refresh_interval=None)
class Bearer:
    def get(self, case: Any, context: Any) -> str:
        return log_in()["access"]

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Send tokens and ids that are good instead of those in the examples."""
    if case.path_parameters.get("sid") == EXAMPLE_SID:
        case.path_parameters = {"sid": sid_of(log_in()["refresh"])}
    if isinstance(case.body, dict):
        for name in ("refresh", "token"):
            if str(case.body.get(name, "")).startswith(EXAMPLE_TOKEN):
                case.body = {**case.body, name: log_in()["refresh"]}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    with open(os.environ["SEEN"], "a") as seen:
        operation = case.operation.definition.raw["operationId"]
        seen.write(f"{operation} {response.status_code}\n")
