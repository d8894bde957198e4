"""simplejwt's two tables, readable whether or not its app is installed.

The models are in a registry of their own: Django neither migrates nor checks them, and they never
meet simplejwt's.
"""

from django.apps.registry import Apps
from django.db import models

from .. import old_tables

_apart = Apps()


class Outstanding(models.Model):
    """A refresh or sliding token that simplejwt issued."""

    # Whatever type the project's users have: the values only go back to the same database.
    user_id = models.TextField(null=True)
    jti = models.CharField(max_length=255, unique=True)
    token = models.TextField()
    created_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    objects: models.Manager["Outstanding"] = models.Manager()

    class Meta:
        apps = _apart
        app_label = old_tables.APP
        db_table = old_tables.OUTSTANDING
        managed = False

    def __str__(self) -> str:
        return self.jti


class Blacklisted(models.Model):
    """A token that simplejwt refuses."""

    token = models.OneToOneField(Outstanding, models.DO_NOTHING)
    blacklisted_at = models.DateTimeField()

    objects: models.Manager["Blacklisted"] = models.Manager()

    class Meta:
        apps = _apart
        app_label = old_tables.APP
        db_table = old_tables.BLACKLISTED
        managed = False

    def __str__(self) -> str:
        return str(self.pk)
