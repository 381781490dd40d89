"""Servers on the loopback interface that send a file: all of it, a part, another one or none."""

from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass, field


@dataclass
class FileServer:
    """What a server sends, and what it was asked for. Start it with the fixture ``file_server``."""

    content: bytes
    stops_after: int | None = None  # bytes of each response after which it closes the connection, or hangs
    hangs: bool = False  # it stops sending and keeps the connection open
    ranges: bool = True  # it understands Range requests; otherwise it always sends all of the file
    content_type: str = ""  # the type that it states
    status: int = 0  # it answers with this error and nothing else
    requests: list[str | None] = field(default_factory=list)  # the Range header of each, None for one without
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one GET request."""
        asked = handler.headers["Range"]
        self.requests.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if self.status:
            handler.send_error(self.status)
        elif start and start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            handler.send_response(206 if start else 200)
            if start:
                handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
            handler.send_header("Content-Length", str(len(self.content) - start))
            if self.content_type:
                handler.send_header("Content-Type", self.content_type)
            handler.end_headers()
            self._send(handler, self.content[start:])

    def _send(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        limit = len(body) if self.stops_after is None else self.stops_after
        handler.wfile.write(body[:limit])
        if self.hangs:
            self.closing.wait()


def start(server: FileServer) -> http.server.ThreadingHTTPServer:
    """Serve in a thread and set the address of ``server``; close what is returned to end it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                server.answer(self)
            except ConnectionError:  # the client has left
                self.close_connection = True

        def log_message(self, *_) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # It looks for a shutdown every 10 ms instead of twice a second, which the end of each test would wait for.
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    server.url = f"http://127.0.0.1:{httpd.server_port}/file"
    return httpd
