"""The snippets that the pages about schedulers tell people to copy."""

import re

from project.settings import BASE_DIR

FOLDER = BASE_DIR / "docs" / "howto" / "schedule"


def snippet(page: str, *, language: str, beginning: str) -> str:
    """Return the one snippet of the page that begins like this."""
    text = (FOLDER / f"{page}.md").read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    [only] = [code for code in found if code.startswith(beginning)]
    return str(only)
