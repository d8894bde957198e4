"""The demo project's URLs, and a view that reads no user."""

import gc

from django.urls import path

from project.urls import urlpatterns as projects
from project.views import MeView
from tokens.api.authentication import JWTStatelessUserAuthentication

stateless = MeView.as_view(authentication_classes=[JWTStatelessUserAuthentication])
urlpatterns = [*projects, path("api/stateless/", stateless)]

# SQLite closes what failed while it was being opened with the last reference to it. Errors of
# Django's databases refer to themselves, so that is when they are collected, and a test waits.
gc.freeze()
gc.collect()
gc.set_threshold(200, 2, 2)
