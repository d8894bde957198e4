from typing import Any

import pytest
from django.contrib.auth import get_user_model

PASSWORD = "correct horse battery staple"


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("ada", "ada@example.com", PASSWORD)


def bearer(token: object) -> dict[str, Any]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}
