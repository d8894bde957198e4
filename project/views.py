from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class MeSerializer(serializers.Serializer[dict[str, str]]):
    username = serializers.CharField()


class MeView(APIView):
    """Who am I? Any view that uses the authentication class refuses revoked tokens."""

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})
