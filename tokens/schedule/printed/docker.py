"""A service for Docker Compose that loops."""

import shlex

from .literal import literal
from .project import Project


def docker(project: Project) -> str:
    """Return a compose service. The image is a blank to fill in: this process can't know it."""
    command = _plain(shlex.join(["python", "manage.py", *project.options]))
    check = ["python", "manage.py", "cleanup_tokens", "--check", "-v0"]
    check += [word for word in project.options if word.startswith("--database=")]
    return f"""\
# Add this to compose.yaml, and fill in the image. Then: docker compose up --detach tokens-cleanup
# See that it works: docker compose logs tokens-cleanup; docker compose ps (healthy, or not)
services:
  tokens-cleanup:
    image: YOUR-IMAGE:TAG  # <- the image of your site
    restart: unless-stopped
    environment:
      DJANGO_SETTINGS_MODULE: {literal(_plain(project.settings))}
    # The same secrets as your site:
    # env_file: .env
    # Hourly; TOKENS_CLEANUP_INTERVAL decides whether a tick cleans up. A failed one is logged, and
    # tried again after a minute. `docker compose stop` ends a run between two batches.
    entrypoint: ["sh", "-c"]
    command:
      - |
        trap 'trap - TERM INT; kill "$$!"; wait "$$!"; exit 0' TERM INT
        while true; do
          {command} & wait "$$!"
          case $$? in 0|3) rest=3600;; *) rest=60;; esac
          sleep "$$rest" & wait "$$!"
        done
    healthcheck:
      test: {literal(["CMD", *map(_plain, check)])}
      interval: 1h
      timeout: 1m
      start_period: 5m
      start_interval: 30s
      retries: 1
"""


def _plain(text: str) -> str:
    """Return the text so that Compose replaces no $VARIABLE in it."""
    return text.replace("$", "$$")
