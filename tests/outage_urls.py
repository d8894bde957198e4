from django.urls import path

from project.urls import urlpatterns as projects
from project.views import MeView
from tokens.api.authentication import JWTStatelessUserAuthentication

stateless = MeView.as_view(authentication_classes=[JWTStatelessUserAuthentication])
urlpatterns = [*projects, path("api/stateless/", stateless)]
