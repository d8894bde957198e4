"""A real Chromium, and people who sit in front of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

WIDE, NARROW = (1280, 900), (375, 812)
PASSWORD = "correct horse battery staple"

# Or Chromium asks hosts of its maker.
OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=OPTIONS, chromium_sandbox=False
        )
        yield browser
        browser.close()


class Person:
    """Somebody who has logged in to the admin; ``complaints`` is what the console said."""

    def __init__(
        self, browser: Browser, url: str, name: str, *, size: tuple[int, int], dark: bool
    ) -> None:
        self.base, self.complaints = url, list[str]()
        self._context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        self.page: Page = self._context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.go("/admin/login/?next=/admin/")
        self.page.fill("[name=username]", name)
        self.page.fill("[name=password]", PASSWORD)
        self.page.press("[name=password]", "Enter")
        self.page.wait_for_url(f"{url}/admin/")

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "favicon" not in str(message.location):
            self.complaints.append(f"{self.page.url}: {message.text}")

    def go(self, path: str) -> None:
        answer = self.page.goto(self.base + path)
        assert answer is not None
        assert answer.ok, (path, answer.status)

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Forget what the console says meanwhile."""
        before = list(self.complaints)
        yield
        self.page.wait_for_timeout(50)
        self.complaints[:] = before

    def reads(self) -> str:
        """Return the text of the page's content."""
        return " ".join(self.page.inner_text("body").split())

    def width_of_body(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def leave(self) -> None:
        self._context.close()
