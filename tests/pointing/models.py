from django.db import models


class Device(models.Model):
    """What a project may keep about a session, to go with it."""

    session = models.ForeignKey("tokens.TokenSession", on_delete=models.CASCADE)

    def __str__(self) -> str:
        return str(self.pk)
