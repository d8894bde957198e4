import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


def new_handle() -> str:
    return f"u-{uuid.uuid4().hex}"


class User(AbstractUser):
    """A user with a UUID for a key, whom tokens name by yet another field."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    handle = models.CharField(max_length=40, unique=True, default=new_handle)
