from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class TokensConfig(AppConfig):
    name = "tokens"
    verbose_name = _("Tokens")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import (
            checks,  # noqa: F401  (registers them)
            old_tables,
            patches,
            receivers,
        )

        patches.install()
        receivers.connect()
        post_migrate.connect(receivers.forget_snapshot, self)
        post_migrate.connect(old_tables.look, self)
