"""A view that needs a token and nothing else."""

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class MeView(APIView):
    """Answer who sent the request."""

    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})
