"""The movie service over HTTP, on a free port of this machine, in threads of its own.

with MovieServer(items=250, seed=7) as server:
    print(server.address)  # lists ids at /movies?page=1, serves a movie at /movies/1017
"""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self, cast

from movie_service import MovieService


class _Listener(ThreadingHTTPServer):
    """Hands its requests to a service."""

    daemon_threads = False  # closing waits for the answers under way
    request_queue_size = 64  # a client that is too fast shall be answered so, not wait for its connection

    def __init__(self, service: MovieService) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service


class _Handler(BaseHTTPRequestHandler):
    """Answers one request. It speaks HTTP/1.0, so each has a connection of its own."""

    timeout = 5  # seconds that a connection may say nothing

    def do_GET(self) -> None:
        """Answers with what the service says, after the delay it asks for."""
        arrived = time.monotonic()
        service = cast("_Listener", self.server).service
        answer = service.begin(self.path, arrived)
        time.sleep(answer.delay)
        service.end(self.path, arrived, answer, time.monotonic())
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.retry_after:
            self.send_header("Retry-After", str(answer.retry_after))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the standard library
        """Says nothing: the service keeps the records."""


class MovieServer:
    """A server that runs while its `with` block does.

    Args:
        service: What it serves.

    Attributes:
        address: Host and port.
    """

    def __init__(self, service: MovieService) -> None:
        self._listener = _Listener(service)
        self._thread = Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, name="movie server")
        self.address = f"127.0.0.1:{self._listener.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()
