"""A page with the client of the documentation, of the API's origin or of another one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.http import HttpRequest, HttpResponse

from tests.snippets import HOWTO, snippet

PAGE = '<!doctype html><title>page</title><link rel="icon" href="data:,">'


def client(api: str = "/api/") -> str:
    """Return the module, for an API at this address."""
    code = snippet("browser", language="js", beginning="// session.js", folder=HOWTO)
    assert code.count('"/api/"') == 1
    return code.replace('"/api/"', f'"{api}"')


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


def script(request: HttpRequest) -> HttpResponse:
    return HttpResponse(client(), content_type="text/javascript")


@contextmanager
def other_origin(host: str, files: dict[str, str]) -> Iterator[str]:
    """Serve these files at a port of their own; yield the origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = files.get(self.path)
            self.send_response(200 if known is not None else 404)
            kind = "javascript" if self.path.endswith(".js") else "html"
            self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write((known or "").encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
