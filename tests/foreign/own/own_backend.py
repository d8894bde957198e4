"""A provider of social logins that needs no network."""

from typing import Any

from social_core.backends.base import BaseAuth


class Fake(BaseAuth):
    name = "fake"

    def auth_url(self) -> str:
        return "https://provider.example/"

    def auth_complete(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.update(response={"id": self.data["code"]}, backend=self)
        return self.strategy.authenticate(*args, **kwargs)

    def get_user_id(self, details: Any, response: Any) -> Any:
        return response["id"]

    def get_user_details(self, response: Any) -> Any:
        return {"username": response["id"], "email": f"{response['id']}@example.com"}
