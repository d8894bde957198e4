from django.urls import include, path
from rest_framework_simplejwt import views

api = [
    path("token/", views.TokenObtainPairView.as_view()),
    path("token/refresh/", views.TokenRefreshView.as_view()),
    path("token/blacklist/", views.TokenBlacklistView.as_view()),
]

urlpatterns = [path("api/", include(api))]
