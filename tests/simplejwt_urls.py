"""A project that keeps simplejwt's URLs and views and names our serializers in SIMPLE_JWT."""

from django.urls import include, path
from rest_framework_simplejwt import views

from project.views import MeView

auth = [
    path("token/", views.TokenObtainPairView.as_view(), name="token_obtain_pair"),
    path("token/refresh/", views.TokenRefreshView.as_view(), name="token_refresh"),
    path("token/verify/", views.TokenVerifyView.as_view(), name="token_verify"),
    path("token/blacklist/", views.TokenBlacklistView.as_view(), name="token_blacklist"),
    path("sliding/", views.TokenObtainSlidingView.as_view(), name="token_obtain_sliding"),
    path("sliding/refresh/", views.TokenRefreshSlidingView.as_view()),
]

urlpatterns = [path("auth/", include(auth)), path("me/", MeView.as_view())]
