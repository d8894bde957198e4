"""Requests whose bodies may be anything."""

from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import QueryDict, UnreadablePostError
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.request import Request


class AnyRequest(Request):
    """A request whose body, if it can't be read, gives 400, whatever the reason."""

    def _load_data_and_files(self) -> None:
        # Only parsing happens here: the same errors elsewhere are mistakes of ours.
        try:
            self._check_charset()
            super()._load_data_and_files()  # type: ignore[misc]
        except UnreadablePostError as error:
            raise self._refuse(_("The body can't be read.")) from error
        except SuspiciousOperation as error:  # too large, or too many fields or files
            raise self._refuse(str(error)) from error
        except (ValueError, RecursionError) as error:  # "punycode"; 100,000 brackets
            raise self._refuse(_("The body can't be decoded.")) from error

    def _check_charset(self) -> None:
        # Django REST framework's parsers ask this, too. Those of a project may not.
        charset = self.parser_context["encoding"]
        try:
            "".encode(charset)
        except (LookupError, ValueError) as error:
            raise self._refuse(_('Unsupported charset "%s".') % charset) from error

    def _refuse(self, detail: str) -> ParseError:
        # Whoever looks at the data again, such as an exception handler, finds none.
        self._full_data = self._data = QueryDict(encoding=self._request.encoding)
        self._files = MultiValueDict[str, Any]()
        return ParseError(detail)
