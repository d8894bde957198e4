"""The endpoints, to be included anywhere: ``path("api/", include("tokens.urls"))``."""

from django.urls import path

from .api import introspection, revocation, revocations, views

urlpatterns = [
    path("token/", views.TokenObtainPairView.as_view(), name="token_obtain_pair"),
    path("token/refresh/", views.TokenRefreshView.as_view(), name="token_refresh"),
    path("token/verify/", views.TokenVerifyView.as_view(), name="token_verify"),
    path("token/blacklist/", views.TokenBlacklistView.as_view(), name="token_blacklist"),
    path("logout/", views.LogoutView.as_view(), name="token_logout"),
    path("logout/all/", views.LogoutAllView.as_view(), name="token_logout_all"),
    path("logout/others/", views.LogoutOthersView.as_view(), name="token_logout_others"),
    path("sessions/", views.SessionListView.as_view(), name="token_session_list"),
    path("sessions/<str:sid>/", views.SessionDetailView.as_view(), name="token_session_detail"),
    path("introspect/", introspection.IntrospectView.as_view(), name="token_introspect"),
    path("revoke/", revocation.RevokeView.as_view(), name="token_revoke"),
    path("revocations/", revocations.RevocationsView.as_view(), name="token_revocations"),
]
