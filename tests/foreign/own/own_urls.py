from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class MeView(APIView):
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})


urlpatterns = [
    path("me/", MeView.as_view()),
    path("dj/", include("dj_rest_auth.urls")),
    path("dj/registration/", include("dj_rest_auth.registration.urls")),
    path("djoser/", include("djoser.urls")),
    path("djoser/", include("djoser.urls.jwt")),
    path("djoser/", include("djoser.social.urls")),
    path("tokens/", include("tokens.urls")),
]
