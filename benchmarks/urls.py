from django.urls import include, path

from benchmarks.me import MeView

urlpatterns = [path("api/", include("tokens.urls")), path("api/me/", MeView.as_view())]
