"""SessionsLinkMixin in user admins of projects, with a ``get_actions`` of any Django version."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import AbstractUser, User
from django.test import Client, RequestFactory
from django.urls import path

from tokens.admin import SessionsLinkMixin

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

KNOWS_LOCATIONS = django.VERSION >= (6, 1)
BOTH: dict[str, Any] = {"location": list(admin.ActionLocation)} if KNOWS_LOCATIONS else {}


@admin.action(description="Greet", **BOTH)
def greet(*args: Any) -> None:
    pass


class Base(UserAdmin):
    actions = (greet,)


class Old(UserAdmin):
    def get_actions(self, request: Any) -> Any:
        return super().get_actions(request)


class New(UserAdmin):
    def get_actions(self, request: Any, action_location: Any = None) -> Any:
        given = {"action_location": action_location} if action_location else {}
        return super().get_actions(request, **given)


class Anything(UserAdmin):
    def get_actions(self, *args: Any, **kwargs: Any) -> Any:
        return super().get_actions(*args, **kwargs)


class InPlace(UserAdmin):
    def get_actions(self, request: Any, action_location: Any = None) -> Any:
        return super().get_actions(request, action_location)


class Plain(SessionsLinkMixin, Base): ...


class OldAbove(Old, SessionsLinkMixin, Base): ...


class OldBelow(SessionsLinkMixin, Old, Base): ...


class NewAbove(New, SessionsLinkMixin, Base): ...


class NewBelow(SessionsLinkMixin, New, Base): ...


class InPlaceAbove(InPlace, SessionsLinkMixin, Base): ...


class AnyBelow(SessionsLinkMixin, Anything, Base): ...


class NoActions(SessionsLinkMixin, Base):
    actions = None


KINDS = [Plain, OldAbove, OldBelow, NewAbove, NewBelow, InPlaceAbove, AnyBelow, NoActions]
SITES = {kind: admin.AdminSite(name=kind.__name__.lower()) for kind in KINDS}
for kind, site in SITES.items():
    site.register(User, kind)
urlpatterns = [path(f"{site.name}/", site.urls) for site in SITES.values()]


@pytest.fixture
def offered(staff: Callable[..., Client], settings: Any) -> Callable[..., set[str]]:
    settings.ROOT_URLCONF = __name__
    client = staff(is_superuser=True)

    def get(kind: type, page: str = "") -> set[str]:
        answer = client.get(f"/{SITES[kind].name}/auth/user/{page}")
        assert answer.status_code == 200
        form = re.search(r'<select name="(?:CHANGE_FORM-)?action".*?</select>', answer.text, re.S)
        return set(re.findall(r'value="(\w+)"', form[0])) if form else set()

    return get


@pytest.mark.filterwarnings("ignore:Overriding get_actions")  # about OldAbove, and due to it
@pytest.mark.parametrize("kind", KINDS[:-1])
def test_the_list_offers_the_projects_actions_and_ours(
    kind: type, offered: Callable[..., set[str]]
) -> None:
    assert offered(kind) == {"greet", "delete_selected", "end_all_sessions"}


@pytest.mark.skipif(not KNOWS_LOCATIONS, reason="actions have no location before Django 6.1")
@pytest.mark.parametrize("kind", [Plain, NewAbove, NewBelow, InPlaceAbove, AnyBelow])
def test_a_users_page_keeps_the_projects_actions(
    kind: type, offered: Callable[..., set[str]], user: AbstractUser
) -> None:
    assert offered(kind, f"{user.pk}/change/") == {"greet"}


@pytest.mark.filterwarnings("ignore:Overriding get_actions")
@pytest.mark.parametrize("kind", [OldAbove, OldBelow, NoActions])
def test_a_users_page_offers_none_if_a_class_knows_no_locations(
    kind: type, offered: Callable[..., set[str]], user: AbstractUser
) -> None:
    assert offered(kind, f"{user.pk}/change/") == set()


def test_no_actions_are_no_actions(offered: Callable[..., set[str]]) -> None:
    assert offered(NoActions) == set()


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.filterwarnings("ignore:Overriding get_actions")
def test_ours_is_an_action_of_the_same_kind_as_djangos(kind: type, rf: RequestFactory) -> None:
    """So that code of the project that looks into the actions finds what it expects."""
    request = rf.get("/")
    request.user = SimpleNamespace(has_perm=lambda *args: True)
    actions = SITES[kind].get_model_admin(User).get_actions(request)
    assert {type(action) for action in actions.values()} == {type(actions["greet"])}
