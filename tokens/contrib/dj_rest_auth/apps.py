from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjRestAuthConfig(AppConfig):
    name = "tokens.contrib.dj_rest_auth"
    label = "tokens_dj_rest_auth"  # dj-rest-auth has the other one
    verbose_name = _("Tokens for dj-rest-auth")

    def ready(self) -> None:
        from . import patch

        patch.install()
