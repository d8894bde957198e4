"""A plugin of pytest: install our app in a suite that configures Django by itself."""

from typing import Any

from django.conf import LazySettings

_configure = LazySettings.configure


def configure(self: LazySettings, *args: Any, **options: Any) -> None:
    options["INSTALLED_APPS"] = [*options["INSTALLED_APPS"], "tokens"]
    _configure(self, *args, **options)


LazySettings.configure = configure  # type: ignore[method-assign]
