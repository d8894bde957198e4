"""What docs/howto/other-services.md says to copy, run as it stands."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import httpx
import pytest
from django.contrib.auth.models import AbstractUser
from django.urls import path
from rest_framework.test import APIClient

from project.settings import BASE_DIR
from tokens import sessions
from tokens.feed import Feed
from tokens.jwt import AccessToken, RefreshToken

from .canned import canned
from .conftest import DAY
from .processes import PATIENCE, environment, wait_until
from .services import Machine, Service, basic, make_service
from .snippets import HOWTO, snippet
from .test_feed_rules import OTHERS, REVOKE, YOUNG, read_feed, verdict
from .test_servers import free_port

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.any_database,
    pytest.mark.slow,
]

node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def code(language: str, beginning: str) -> str:
    return snippet("other-services", language=language, beginning=beginning, folder=HOWTO)


def run(beginning: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code("python", beginning), names)  # noqa: S102
    return names


def answers(url: str, **headers: str) -> httpx.Response | None:
    try:
        return httpx.get(url, headers=headers, timeout=PATIENCE, verify=False)  # noqa: S501
    except httpx.TransportError:
        return None


@contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_service_is_a_user_with_one_right(user: AbstractUser, settings: Any) -> None:
    service = run("from django.contrib.auth.models")["make_service"]("gateway", "secret")
    views = run("from rest_framework.authentication")
    patterns = [
        path("introspect/", views["BasicIntrospectView"].as_view()),
        path("revocations/", views["BasicRevocationsView"].as_view()),
    ]
    header = basic(service, "secret")
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": patterns})
    form = {"token": str(AccessToken.for_user(user))}
    assert APIClient().post("/introspect/", form, **header).json()["active"]
    assert APIClient().get("/revocations/", **header).status_code == 200
    assert APIClient().post("/introspect/", form).status_code == 401
    assert service.get_all_permissions() == {"tokens.introspect_token"}


@pytest.fixture
def asked(live_server: Any) -> tuple[str, str]:
    """The address of ``introspect/``, and the header of a caller."""
    access = RefreshToken.for_user(make_service("introspect_token")).access_token
    return f"{live_server.url}/api/introspect/", f"Bearer {access}"


def test_a_service_in_python_asks(asked: tuple[str, str], user: AbstractUser) -> None:
    url, caller = asked
    introspect = run("import json\nfrom urllib.parse")["introspect"]
    token = RefreshToken.for_user(user)
    access = str(token.access_token)
    assert introspect(access, url=url, caller=caller)["sub"] == str(user.pk)
    assert introspect(str(token), url=url, caller=caller) is None
    sessions.end(token.claims)
    assert introspect(access, url=url, caller=caller) is None
    with pytest.raises(URLError, match="401"):
        introspect(access, url=url, caller="")


@node
def test_a_service_in_javascript_asks(
    asked: tuple[str, str], user: AbstractUser, tmp_path: Path
) -> None:
    url, caller = asked
    script, port = tmp_path / "service.mjs", free_port()
    script.write_text(code("js", "import { createServer }"))
    token = RefreshToken.for_user(user)
    access, here = str(token.access_token), f"http://127.0.0.1:{port}/"
    settings = {"INTROSPECT": url, "CALLER": caller, "PORT": str(port)}
    with child(["node", str(script)], env=os.environ | settings):
        wait_until(lambda: answers(here) is not None)

        def status(value: str) -> int:
            found = answers(here, Authorization=value)
            assert found is not None
            return found.status_code

        found = answers(here, Authorization=f"Bearer {access}")
        assert found is not None
        assert (found.status_code, found.text) == (200, f"Hello {user.pk}")
        assert status(f"Bearer {token}") == status("") == status("Bearer x") == 401
        sessions.end(token.claims)
        assert status(f"Bearer {access}") == 401
    with child(["node", str(script)], env=os.environ | settings | {"CALLER": ""}):
        wait_until(lambda: answers(here) is not None)
        assert status(f"Bearer {access}") == 503


VERDICTS = """
import { createInterface } from "node:readline";
const feed = new Feed(process.argv[2], {});
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await feed.refuses(JSON.parse(line)).catch((error) => error.message)));
}
"""


def in_javascript(url: str, tmp_path: Path, payloads: list[dict[str, Any]]) -> list[Any]:
    """Return what the reader in JavaScript says of each payload; a text if it throws."""
    script = tmp_path / "reader.mjs"
    script.write_text(code("js", "import { createHash }") + VERDICTS)
    done = subprocess.run(
        ["node", str(script), url],
        input="".join(json.dumps(payload) + "\n" for payload in payloads),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@node
def test_a_reader_in_javascript_decides_as_ours_does(
    make_user: Callable[..., AbstractUser], tmp_path: Path
) -> None:
    payloads = []
    for number, (revoke, make) in enumerate(
        (revoke, make) for revoke in REVOKE.values() for make in (*YOUNG, *OTHERS)
    ):
        user = make_user(f"user{number}")
        token = make(user)
        revoke(token, user)
        payloads.append(token.payload)
    too_long = AccessToken.for_user(user)
    too_long.set_exp(lifetime=401 * DAY)
    payloads += [too_long.payload, {"jti": 5, "iat": 1, "exp": 2}, {}]
    copy = read_feed()
    ours = [verdict(copy, payload) for payload in payloads]
    assert {True, False, None} == set(ours)
    with canned() as site:
        answer = Service(Machine()).feed()
        site.say(answer.json(), ETag=answer.headers["ETag"])
        theirs = in_javascript(site.url, tmp_path, payloads)
    # Without ``iat`` this one refuses what ours leaves to introspection.
    without_iat = [number for number, payload in enumerate(payloads) if "iat" not in payload]
    assert all(theirs[number] is True for number in without_iat)
    kept = [number for number in range(len(payloads)) if number not in without_iat]
    assert [theirs[number] for number in kept] == [ours[number] for number in kept]


@node
def test_a_reader_in_javascript_renews_its_copy_and_decides_nothing_without_one(
    user: AbstractUser, tmp_path: Path
) -> None:
    payload = RefreshToken.for_user(user).access_token.payload
    with canned() as site:
        site.say({"detail": "no"}, status=403)
        assert in_javascript(site.url, tmp_path, [payload]) == ["the feed answered 403"]
        answer = Service(Machine()).feed()
        site.say(answer.json(), ETag=answer.headers["ETag"])
        site.asked.clear()
        assert in_javascript(site.url, tmp_path, [payload] * 3) == [False] * 3
        assert len(site.asked) == 1
        slow = code("js", "import { createHash }").replace("maxAge = 1000", "maxAge = -1")
        assert "maxAge = -1" in slow
        script = tmp_path / "old.mjs"
        script.write_text(slow + VERDICTS)
        done = subprocess.run(
            ["node", str(script), site.url],
            input=f"{json.dumps(payload)}\n" * 2,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    assert set(done.stdout.splitlines()) == {'"the copy of the feed is too old"'}
    sent = [{name.lower(): value for name, value in one.items()} for _, one in site.asked[1:]]
    etags = [one.get("if-none-match") for one in sent]
    assert etags == [None, answer.headers["ETag"]]


def test_our_reader_is_used_as_the_page_says(user: AbstractUser) -> None:
    token = RefreshToken.for_user(user)
    with canned() as site:
        site.say(Service(Machine()).feed().json())
        source = code("python", "from tokens.feed import").replace(
            "https://example.com/api/revocations/", site.url
        )
        names: dict[str, Any] = {}
        exec(source, names)  # noqa: S102
        with names["feed"] as feed:
            assert isinstance(feed, Feed)
            assert names["may_pass"](token.access_token.payload)
            assert not names["may_pass"](token.payload)
            sessions.end(token.claims)
            site.say(Service(Machine()).feed().json())
            wait_until(lambda: not names["may_pass"](token.access_token.payload))


NGINX_CONF = """
daemon off;
error_log stderr warn;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    {paths}
    server {{
        listen 127.0.0.1:{port};
        {snippet}
    }}
}}
"""
PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

URLS = """
from django.urls import include, path
{view}
urlpatterns = [
    path("api/token-check/", TokenCheckView.as_view()), path("api/", include("tokens.urls"))
]
"""


@pytest.mark.skipif(NGINX is None, reason="there is no nginx")
def test_nginx_asks(user: AbstractUser, tmp_path: Path) -> None:
    server, port = free_port(), free_port()
    view = code("python", "from rest_framework.permissions")
    (tmp_path / "checked_urls.py").write_text(URLS.format(view=view))
    (tmp_path / "checked.py").write_text(
        'from project.settings import *\nROOT_URLCONF = "checked_urls"\n'
    )
    variables = environment(
        SECRET_KEY=os.environ["SECRET_KEY"],
        DJANGO_SETTINGS_MODULE="checked",
        PYTHONPATH=f"{tmp_path}:{BASE_DIR}",
    )
    gunicorn = [*(sys.executable, "-m", "gunicorn", "--no-control-socket", "--log-level", "error")]
    gunicorn += ["--bind", f"127.0.0.1:{server}", "project.wsgi"]
    token = RefreshToken.for_user(user)
    bearer = {"Authorization": f"Bearer {token.access_token}"}
    with canned() as shop:
        shop.say(b"welcome")
        conf = code("nginx", "location /shop/").replace("127.0.0.1:8000", f"127.0.0.1:{server}")
        conf = conf.replace("http://127.0.0.1:9000", shop.url.removesuffix("/revocations/"))
        paths = "".join(f"{name}_temp_path {tmp_path}/{name};\n" for name in PATHS)
        file = tmp_path / "nginx.conf"
        file.write_text(NGINX_CONF.format(folder=tmp_path, port=port, snippet=conf, paths=paths))
        here = f"http://127.0.0.1:{port}"
        with child([str(NGINX), "-e", "stderr", "-p", str(tmp_path), "-c", str(file)]):
            with child(gunicorn, env=variables, cwd=BASE_DIR):
                wait_until(lambda: getattr(answers(f"{here}/shop/"), "status_code", 0) == 401)
                shop.asked.clear()
                found = answers(f"{here}/shop/cart", **bearer, **{"X-User": "forged"})
                assert found is not None
                assert (found.status_code, found.text) == (200, "welcome")
                [(where, sent)] = shop.asked
                assert (where, sent["X-User"]) == ("/shop/cart", str(user.pk))
                outside = answers(f"{here}/token-check", **bearer)
                assert outside is not None
                assert outside.status_code == 404
                sessions.end(token.claims)
                found = answers(f"{here}/shop/cart", **bearer)
                assert found is not None
                assert found.status_code == 401
                assert found.headers["WWW-Authenticate"].startswith("Bearer")
            found = answers(f"{here}/shop/cart", **bearer)
            assert found is not None
            assert found.status_code == 500
        assert len(shop.asked) == 1


def test_what_an_answer_is_said_to_have_is_there(user: AbstractUser) -> None:
    shown = json.loads(code("json", '{"active"'))
    said = Service(Machine()).introspect(RefreshToken.for_user(user).access_token).json()
    assert shown.keys() == said.keys()
