"""A user model with a parent, a sibling, a child and proxies; ``is_active`` is no column."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Person(AbstractUser):
    """Holds the password, and what decides whether somebody is active."""

    status = models.CharField(max_length=16, default="active")

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        return self.status == "active"


class Club(models.Model):
    """Takes its members with it when it is deleted."""

    def __str__(self) -> str:
        return f"club {self.pk}"


class Member(Person):
    """The user model."""

    club = models.ForeignKey(Club, on_delete=models.CASCADE, null=True, blank=True)


class Supplier(Person):
    """Another kind of person; one person may be both."""


class Chief(Member):
    """A special kind of user."""

    title = models.CharField(max_length=16, blank=True)


class PersonProxy(Person):
    class Meta:
        proxy = True


class MemberProxy(Member):
    class Meta:
        proxy = True
