"""The snippets of "Mail users about their logins", as printed."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import celery
import django
import pytest
from django.contrib.auth.models import AbstractUser
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.dispatch import receiver
from rest_framework_simplejwt.tokens import RefreshToken as PlainToken
from rest_framework_simplejwt.tokens import Token

from tokens import signals

from .conftest import Login
from .snippets import HOWTO, snippet
from .test_acts import PHONE, THIEF, Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/131.0.0.0 Safari/537.36"
)


def page(beginning: str) -> str:
    return snippet("security-mails", language="python", beginning=beginning, folder=HOWTO)


@pytest.fixture(params=["celery", "django.tasks"])
def mails(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    """The module ``shop.mails``, whose receivers go with it."""
    before = {
        one: list(one.receivers) for one in vars(signals).values() if hasattr(one, "receivers")
    }
    code = page("# shop/mails.py\nfrom celery")
    if request.param == "celery":
        celery.current_app.conf.task_always_eager = True
    else:
        if django.VERSION < (6, 0):
            pytest.skip("tasks came with Django 6.0")
        theirs = page("# shop/mails.py\nfrom django.contrib")
        receivers = code[code.index("@receiver") :].replace(".delay(", ".enqueue(")
        imports = code[code.index("from django.dispatch") : code.index("@shared_task")]
        code = f"{theirs}\n{imports}\n{receivers}"
    module = ModuleType("mails_of_shop")
    sys.modules[module.__name__] = module
    exec(compile(code, "mails.py", "exec"), vars(module))  # noqa: S102
    yield
    del sys.modules[module.__name__]
    celery.current_app.tasks.pop("mails_of_shop.write_to", None)
    celery.current_app.conf.task_always_eager = False
    for one, receivers_before in before.items():
        one.receivers[:] = receivers_before
        one.sender_receivers_cache.clear()


def test_a_login_is_mailed_with_its_device(make_user: Any, mails: None) -> None:
    user = make_user(email="ada@example.org")
    Phone(user, device_name="Ada's phone")
    [sent] = mail.outbox
    assert sent.to == ["ada@example.org"]
    assert sent.subject == "New login from Ada's phone"
    assert "203.0.113.7" in sent.body


def test_a_stolen_token_is_mailed_with_both_devices(
    make_user: Any, mails: None, settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    user = make_user(email="ada@example.org")
    phone = Phone(user)
    mail.outbox.clear()
    phone.post("token/refresh", {"refresh": phone.refresh}, **PHONE)
    phone.post("token/refresh", {"refresh": phone.refresh}, **THIEF | {"HTTP_USER_AGENT": CHROME})
    [sent] = mail.outbox
    assert sent.subject == "Your login on Phone was ended"
    assert "Chrome on Windows, address 198.51.100.6" in sent.body


def test_moving_from_simplejwt_mails_nobody(user: AbstractUser, mails: None) -> None:
    plain = Token.for_user.__func__(PlainToken, user)  # type: ignore[attr-defined]
    login = Login(user)
    mail.outbox.clear()
    assert login.refresh(str(plain)).status_code == 200
    assert mail.outbox == []


def test_a_receiver_that_fails_fails_no_login(
    user: AbstractUser, mails: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the mail server is down")

    monkeypatch.setattr(EmailBackend, "send_messages", fail)
    Login(user)


def test_receivers_are_connected_once() -> None:
    """The fixture above undoes what it did."""

    @receiver(signals.session_started)
    def here(**_: Any) -> None: ...

    assert signals.session_started.disconnect(here)
    assert not signals.session_started.receivers
