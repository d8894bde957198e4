"""Who may see and do what in the admin: every page and every act, for every kind of person."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AbstractUser, User
from django.test import Client
from django.urls import reverse

from tokens import clock
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

from .test_admin import make_entry, make_run, make_session, page

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

ENTRIES, SESSIONS, RUNS = "view_blacklistentry", "view_tokensession", "view_cleanuprun"
USERS, END, RUN = "view_user", "end_tokensession", "run_cleanup"
UNREVOKE = "unrevoke_blacklistentry"
VIEW = frozenset({ENTRIES, SESSIONS, RUNS})
OURS = VIEW | {END, UNREVOKE, RUN}
OF_DJANGO = frozenset({"add_user", "change_user", "delete_user", "view_group", "delete_logentry"})
EVERYTHING = OURS | OF_DJANGO | {USERS}

STAFF: dict[str, frozenset[str]] = {
    "no right": frozenset(),
    "views entries": frozenset({ENTRIES}),
    "views sessions": frozenset({SESSIONS}),
    "views runs": frozenset({RUNS}),
    "views": VIEW,
    "views users": frozenset({USERS}),
    "changes users": OF_DJANGO,
    "views and users": VIEW | {USERS},
    "only ends": frozenset({END}),
    "only unrevokes": frozenset({UNREVOKE}),
    "only runs": frozenset({RUN}),
    "ends": frozenset({SESSIONS, END}),
    "unrevokes": frozenset({ENTRIES, UNREVOKE}),
    "runs": frozenset({RUNS, RUN}),
    "looks up and ends": frozenset({ENTRIES, SESSIONS, END}),
    "users and ends": frozenset({USERS, END}),
    "acts and views nothing": OURS - VIEW,
    "all but users": OURS,
    "superuser": EVERYTHING,
}
OUTSIDE = ["anonymous", "no staff, but every right"]


@dataclass
class World:
    user: AbstractUser
    access: AccessToken
    session: TokenSession
    entry: BlacklistEntry
    run: CleanupRun

    def rows(self) -> dict[str, Any]:
        models = (BlacklistEntry, TokenSession, CleanupRun, LogEntry, User)
        return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}


@pytest.fixture
def world(user: AbstractUser, settings: Any) -> World:
    settings.TOKENS_MAX_SESSIONS_PER_USER = None
    past = clock.now() - timedelta(hours=1, minutes=30)
    refresh = RefreshToken.for_user(user)
    make_session(user)
    make_session(user, expires_at=past)
    entry = make_entry(new_sid(), scope="session", user=user, reason="reuse")
    make_entry(user=user, expires_at=past)
    run = make_run(outcome="failed", error="it broke", finished_at=clock.now())
    session = TokenSession.objects.get(sid=refresh["sid"])
    return World(user, refresh.access_token, session, entry, run)


@pytest.fixture
def person(staff: Callable[..., Client]) -> Callable[[str], Client]:
    def log_in(name: str) -> Client:
        if name == "anonymous":
            return Client()
        if name == "superuser":
            return staff(is_superuser=True)
        if name not in OUTSIDE:
            return staff(*STAFF[name])
        client = staff(*EVERYTHING)
        User.objects.filter(username__startswith="staff").update(is_staff=False)
        return client

    return log_in


# Pages


@dataclass(frozen=True)
class Page:
    """A page, who may open it, and the answer to others of the staff."""

    url: Callable[[World], str]
    may: Callable[[frozenset[str]], Any]
    else_: int = 403
    opens: int = 200


def having(*rights: str) -> Callable[[frozenset[str]], bool]:
    return lambda found: found.issuperset(rights)


def nobody(found: frozenset[str]) -> bool:
    return False


def of(model: str, view: str, of_row: str = "") -> Callable[[World], str]:
    def url(world: World) -> str:
        return page(model, view, *([getattr(world, of_row).pk] if of_row else []))

    return url


KINDS = {
    "blacklistentry": (ENTRIES, "entry"),
    "tokensession": (SESSIONS, "session"),
    "cleanuprun": (RUNS, "run"),
}
PAGES: dict[str, Page] = {
    "index": Page(lambda _: "/admin/", having()),
    # Django shows an app if one of its models allows something that Django knows.
    "app": Page(lambda _: "/admin/tokens/", (VIEW | {UNREVOKE}).intersection, else_=404),
    "lookup": Page(lambda _: "/admin/tokens/lookup/", having(ENTRIES)),
    "blacklistentry_delete": Page(of("blacklistentry", "delete", "entry"), having(UNREVOKE)),
    "tokensession_delete": Page(of("tokensession", "delete", "session"), nobody),
    "cleanuprun_delete": Page(of("cleanuprun", "delete", "run"), nobody),
    "tokensession_end": Page(of("tokensession", "end", "session"), having(END)),
    "tokensession_end_all": Page(of("tokensession", "end_all", "user"), having(END)),
    "cleanuprun_run": Page(of("cleanuprun", "run"), nobody, else_=405),
    "users": Page(lambda _: "/admin/auth/user/", {USERS, "change_user"}.intersection),
    "user": Page(
        lambda world: f"/admin/auth/user/{world.user.pk}/change/",
        {USERS, "change_user"}.intersection,
    ),
}
for model, (right, row) in KINDS.items():
    PAGES[f"{model}_changelist"] = Page(of(model, "changelist"), having(right))
    PAGES[f"{model}_change"] = Page(of(model, "change", row), having(right))
    PAGES[f"{model}_history"] = Page(of(model, "history", row), having(right))
    PAGES[f"{model}_add"] = Page(of(model, "add"), nobody)


def test_no_page_is_forgotten() -> None:
    names = {
        pattern.name
        for model, its_admin in admin.site._registry.items()
        if model._meta.app_label == "tokens"
        for pattern in its_admin.get_urls()
        if pattern.name  # Django's redirection from former addresses has none
    }
    forgotten = names - {f"tokens_{name}" for name in PAGES} - {"tokens_lookup_changelist"}
    assert not forgotten


@pytest.mark.parametrize("name", OUTSIDE)
def test_whoever_is_no_staff_is_sent_to_the_login(
    person: Callable[[str], Client], world: World, name: str
) -> None:
    client, before = person(name), world.rows()
    requests = {place: one.url(world) for place, one in PAGES.items() if place != "cleanuprun_run"}
    answers = [client.get(url) for url in requests.values()]
    answers += [act.send(client, world) for act in ACTS.values()]
    login = reverse("admin:login")
    assert {answer.status_code for answer in answers} == {302}
    assert {answer["Location"].split("?")[0] for answer in answers} == {login}
    assert world.rows() == before


# Acts


def post(url: Callable[[World], str], **data: Any) -> Callable[[Client, World], Any]:
    return lambda client, world: client.post(url(world), data)


def action(name: str, url: str, of_row: str, **data: Any) -> Callable[[Client, World], Any]:
    def send(client: Client, world: World) -> Any:
        row = getattr(world, of_row)
        chosen = {"action": name, "_selected_action": str(row.pk), "index": 0, "post": "yes"}
        return client.post(url, chosen | data)

    return send


def signed(world: World) -> str:
    """Return what the page of a person with every right would send."""
    from tokens.admin import lookup, verdict

    (found,) = verdict.about(str(world.access))
    return lookup._signed(found) or ""


def sessions_left(world: World) -> int:
    return TokenSession.objects.filter(user=world.user).live().count()


def entry_is_gone(world: World) -> bool:
    return not BlacklistEntry.objects.filter(pk=world.entry.pk).exists()


@dataclass(frozen=True)
class Act:
    """What is sent, which rights it needs, and how one sees that it was done.

    To others the answer is 403. Whoever ``sees`` the list that it is sent to may get the list.
    """

    send: Callable[[Client, World], Any]
    needs: frozenset[str]
    done: Callable[[World], bool]
    sees: Callable[[frozenset[str]], Any] = nobody
    logged: bool = True


LIST_OF_SESSIONS = "/admin/tokens/tokensession/"
LOOKUP = "/admin/tokens/lookup/"
WHY = {"post": "yes", "why": "the wrong person"}
ACTS: dict[str, Act] = {
    "end a session": Act(
        post(of("tokensession", "end", "session"), action="end_selected", post="yes"),
        frozenset({END}),
        lambda world: sessions_left(world) == 1,
    ),
    "end all of a user": Act(
        post(of("tokensession", "end_all", "user"), post="yes"),
        frozenset({END}),
        lambda world: sessions_left(world) == 0,
    ),
    "end selected": Act(
        action("end_selected", LIST_OF_SESSIONS, "session"),
        frozenset({SESSIONS, END}),
        lambda world: sessions_left(world) == 1,
        sees=having(SESSIONS),
    ),
    "end all of their users": Act(
        action("end_everywhere", LIST_OF_SESSIONS, "session"),
        frozenset({SESSIONS, END}),
        lambda world: sessions_left(world) == 0,
        sees=having(SESSIONS),
    ),
    "end all of selected users": Act(
        action("end_all_sessions", "/admin/auth/user/", "user"),
        frozenset({USERS, END}),
        lambda world: sessions_left(world) == 0,
        sees={USERS, "change_user"}.intersection,
    ),
    "un-revoke": Act(
        post(of("blacklistentry", "delete", "entry"), **WHY), frozenset({UNREVOKE}), entry_is_gone
    ),
    "un-revoke selected": Act(
        action("delete_selected", "/admin/tokens/blacklistentry/", "entry", **WHY),
        frozenset({ENTRIES, UNREVOKE}),
        entry_is_gone,
        sees=having(ENTRIES),
    ),
    "revoke a token": Act(
        lambda client, world: client.post(LOOKUP, {"revoke": signed(world)}),
        frozenset({ENTRIES, END}),
        lambda world: BlacklistEntry.objects.filter(subject=world.access["jti"]).exists(),
    ),
    "run the cleanup": Act(
        post(of("cleanuprun", "run"), run="x"),
        frozenset({RUN}),
        lambda world: CleanupRun.objects.filter(trigger="admin", outcome="succeeded").exists(),
    ),
    "preview a run": Act(
        post(of("cleanuprun", "run"), preview="x"),
        frozenset({RUN}),
        lambda world: CleanupRun.objects.count() == 1,
        logged=False,
    ),
}
# Nobody may do these, whatever rights Django has for them.
FORBIDDEN: dict[str, Act] = {
    f"{view} {model}": Act(post(of(model, view, row), subject="x", **WHY), OURS, bool)
    for model, (right, row) in KINDS.items()
    for view in ("change", "delete")
    if (model, view) != ("blacklistentry", "delete")
} | {
    f"add {model}": Act(post(of(model, "add"), subject="x", _save="Save"), OURS, bool)
    for model in KINDS
}


@pytest.mark.parametrize("name", STAFF)
def test_nothing_happens_without_the_right(
    person: Callable[[str], Client], world: World, name: str
) -> None:
    client, rights, before = person(name), STAFF[name], world.rows()
    for what, act in (ACTS | FORBIDDEN).items():
        if what in ACTS and act.needs <= rights:
            continue
        answer = act.send(client, world)
        assert answer.status_code in ({200, 302} if act.sees(rights) else {403}), what
    assert world.rows() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("who", ["superuser", "staff"])
@pytest.mark.parametrize("what", ACTS)
def test_an_act_is_done_with_its_rights_alone_and_recorded(
    person: Callable[[str], Client], staff: Callable[..., Client], world: World, what: str, who: str
) -> None:
    act = ACTS[what]
    client = person(who) if who == "superuser" else staff(*act.needs)
    answer = act.send(client, world)
    assert answer.status_code == 302
    assert client.get(answer["Location"]).status_code == 200
    assert act.done(world)
    assert LogEntry.objects.exists() is act.logged


# Pages, with their links and buttons


@dataclass
class Visit:
    """What a person finds on the pages: the answer of each, and its text if it opens."""

    statuses: dict[str, int]
    texts: dict[str, str]
    asked: dict[str, int]


def visit(client: Client, world: World, rights: frozenset[str]) -> Visit:
    found = Visit({}, {}, {})
    for place, one in PAGES.items():
        url = one.url(world)
        answer = client.get(url)
        found.statuses[place] = found.asked[url] = answer.status_code
        if answer.status_code == 200:
            text = answer.text
            if place == "user":  # the rest of the page is Django's
                text = text.split('class="tokens-person"')[1] if "tokens-person" in text else ""
            found.texts[place] = text
    if ENTRIES in rights:
        for term in (str(world.access), world.user.username, str(world.entry.pk)):
            found.texts[f"lookup of {term[:8]}"] = client.post(LOOKUP, {"q": term}).text
    return found


def links(text: str) -> set[str]:
    """Return the addresses in the admin that a page leads to."""
    found = {unescape(one) for one in re.findall(r'href="(/admin/[^"#]*)"', text)}
    return {one for one in found if not one.startswith("/admin/jsi18n")}


def kind_of(link: str) -> tuple[str, frozenset[str]]:
    """Return what decides who may open a link: its address and the names of its parameters."""
    address = urlsplit(link)
    return address.path, frozenset(parse_qs(address.query))


# How one knows a button, and the rights that it needs beside the one to view the page.
BUTTONS: dict[str, frozenset[str]] = {
    'action="/admin/tokens/cleanuprun/run/"': frozenset({RUN}),
    'value="end_selected"': frozenset({END}),
    'value="end_everywhere"': frozenset({END}),
    'value="end_all_sessions"': frozenset({END}),
    "End this session…": frozenset({END}),
    "End all sessions…": frozenset({END}),
    ">End…<": frozenset({END}),
    'value="Revoke this token"': frozenset({END}),
    'value="delete_selected">Un-revoke': frozenset({UNREVOKE}),
    "Un-revoke…": frozenset({UNREVOKE}),
}


@pytest.mark.parametrize("name", STAFF)
def test_pages_open_for_those_with_the_right_and_lead_and_offer_only_what_they_may(
    person: Callable[[str], Client], world: World, name: str
) -> None:
    client, rights, before = person(name), STAFF[name], world.rows()
    found = visit(client, world, rights)
    assert found.statuses == {
        place: one.opens if one.may(rights) else one.else_ for place, one in PAGES.items()
    }
    assert world.rows() == before
    assert_every_link_opens(client, found, every=rights == EVERYTHING)
    texts = [text for place, text in found.texts.items() if "delete" not in place]
    visible = {button for button in BUTTONS if any(button in text for text in texts)}
    assert all(BUTTONS[button] <= rights for button in visible)
    if rights == EVERYTHING:
        assert visible == set(BUTTONS)


def assert_every_link_opens(client: Client, found: Visit, *, every: bool) -> None:
    """Follow one link of each kind, or ``every`` one; the pages have been asked for before."""
    asked = {link if every else kind_of(link): status for link, status in found.asked.items()}
    before = len(asked)
    wrong = set()
    for place, text in found.texts.items():
        for link in sorted(links(text)):
            kind = link if every else kind_of(link)
            if kind not in asked:
                asked[kind] = client.get(link).status_code
            if asked[kind] not in (200, 302):
                wrong.add((place, link, asked[kind]))
    assert len(asked) > before
    assert not wrong
