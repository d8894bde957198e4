"""simplejwt's models in a project that has left its blacklist app."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import AbstractUser
from django.shortcuts import get_object_or_404
from rest_framework_simplejwt.token_blacklist import models

from tokens.jwt import OldModelUsed, old_models

pytestmark = pytest.mark.django_db

USES: dict[str, Callable[[Any], Any]] = {
    "filter": lambda user: models.OutstandingToken.objects.filter(user=user),
    "create": lambda user: models.BlacklistedToken.objects.get_or_create(token=None),
    "instance": lambda user: models.BlacklistedToken(token=None),
    "default manager": lambda user: models.OutstandingToken._default_manager.filter(user=user),
    "base manager": lambda user: models.OutstandingToken._base_manager.all(),
    "shortcut": lambda user: get_object_or_404(models.OutstandingToken, jti="j"),
    "exception": lambda user: models.OutstandingToken.DoesNotExist,
    "reverse": lambda user: user.outstandingtoken_set.all(),
}


@pytest.fixture(autouse=True)
def new_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_models, "_seen", set())


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_each_use_fails_and_says_what_to_call(
    use: Callable[[Any], Any], user: AbstractUser
) -> None:
    with pytest.raises(OldModelUsed, match=r"tokens\.sessions\.end_all\(user\)"):
        use(user)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_use_that_except_exception_hides_is_logged_once_a_place(
    use: Callable[[Any], Any], user: AbstractUser, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with contextlib.suppress(Exception):
            use(user)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "tokens.sessions.end_all(user)" in record.getMessage()
    with contextlib.suppress(Exception):
        models.OutstandingToken.objects.all()
    assert len(caplog.records) == 2
    assert __file__ in caplog.records[1].getMessage()


def test_what_asks_whether_the_app_is_there_gets_no(user: AbstractUser) -> None:
    assert not hasattr(models.OutstandingToken, "objects")
    assert not hasattr(user, "outstandingtoken_set")
    assert not hasattr(type(user), "outstandingtoken_set")
    assert models.OutstandingToken._meta.abstract
    assert {field.name for field in models.OutstandingToken._meta.fields} >= {"jti", "token"}


def test_a_project_s_own_model_may_derive_from_theirs() -> None:
    class Own(models.OutstandingToken):
        class Meta:
            app_label = "project"

    try:
        assert Own(jti="j").jti == "j"
        assert Own.objects.model is Own
        with pytest.raises(Own.DoesNotExist):
            raise Own.DoesNotExist
    finally:
        del apps.all_models["project"]["own"]
        apps.clear_cache()
