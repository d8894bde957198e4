from django.urls import path

from project.views import MeView

urlpatterns = [path("api/me/", MeView.as_view())]
