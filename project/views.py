from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class MeView(APIView):
    """Who am I? Any view that uses the authentication class refuses revoked tokens."""

    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})
