from django.urls import include, path
from rest_framework_simplejwt import views

from benchmarks.me import MeView

api = [
    path("token/", views.TokenObtainPairView.as_view()),
    path("token/refresh/", views.TokenRefreshView.as_view()),
    path("token/blacklist/", views.TokenBlacklistView.as_view()),
    path("me/", MeView.as_view()),
]

urlpatterns = [path("api/", include(api))]
