"""The demo project's, what a theme wants, and a page with the client of the documentation."""

from django.urls import include, path

from project.urls import urlpatterns as of_project

from . import pages
from .settings import THEME

of_theme = [path("grappelli/", include("grappelli.urls"))] if THEME == "grappelli" else []
of_pages = [path("app/", pages.page), path("app/session.js", pages.script)]
urlpatterns = [*of_theme, *of_pages, *of_project]
