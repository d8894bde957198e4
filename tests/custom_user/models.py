import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class User(AbstractBaseUser, PermissionsMixin):
    """A user of another shape: a UUID for a key, an e-mail address for a name."""

    code = models.UUIDField(primary_key=True, default=uuid.uuid4)
    mail = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=True)

    objects = BaseUserManager()

    USERNAME_FIELD = "mail"

    def __str__(self) -> str:
        raise AssertionError("a list should not ask for this")
