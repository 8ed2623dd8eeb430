"""A small web page of live colour: before and after with a slider, the confidence, rate, latency, dropped frames.

Nothing is queued for a browser: it asks for a frame newer than the one it has and gets the newest.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

from edgecolor._errors import SourceError
from edgecolor._explain import heat
from edgecolor._live import Shown

WIDTH_MAX = 1280
"""Of the pictures that are sent."""

WAIT_SECONDS = 5.0
"""How long a browser that asks for a newer frame is kept waiting for it."""

QUALITY = 85
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


class Page:
    """Serves the page until closed; an output of ``watch``.

    Args:
        title: What is shown.
        host: Address to listen on. Beyond loopback everyone who reaches it sees the picture: there is no password.
        port: 0 takes a free one.

    Raises:
        SourceError: The address cannot be listened on.
    """

    def __init__(self, title: str, host: str = "127.0.0.1", port: int = 8000) -> None:
        self._title = title
        self._news = threading.Condition()
        self._shown: Shown | None = None
        self._picture: tuple[int, bytes] = (0, b"")
        self.closed = False
        try:
            self._server = (_Server6 if ":" in host else ThreadingHTTPServer)(
                (host.strip("[]"), port), partial(_Handler, self, host in LOOPBACK)
            )
        except (OSError, OverflowError) as error:
            raise SourceError(f"cannot serve on {host}:{port}: {error}; choose another port with --serve HOST:PORT") from error
        self._server.daemon_threads = True
        self.address = f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="edgecolor page", daemon=True)
        self._thread.start()

    def __enter__(self) -> Page:  # noqa: PYI034  # Self came with Python 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def show(self, shown: Shown) -> bool:
        """Make it the frame that browsers get next."""
        with self._news:
            self._shown = shown
            self._news.notify_all()
        return True

    def close(self) -> None:
        """Stop serving."""
        with self._news:
            self.closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def newest(self, after: int) -> Shown | None:
        """The newest frame once it is number ``after`` + 1 or later; None if none comes in time."""
        with self._news:
            self._news.wait_for(lambda: self.closed or (self._shown is not None and self._shown.count > after), WAIT_SECONDS)
            return self._shown if self._shown is not None and self._shown.count > after else None

    def picture(self, shown: Shown) -> bytes:
        """A frame for the page, JPEG; worked out once, however many browsers ask."""
        with self._news:
            if self._picture[0] == shown.count:
                return self._picture[1]
        jpeg = _bands(shown)
        with self._news:
            self._picture = (shown.count, jpeg)
        return jpeg

    def status(self) -> dict[str, object]:
        """What the page says below the picture."""
        shown = self._shown
        if shown is None:
            return {"source": self._title, "frames": 0}
        height, width = shown.frame.y.shape
        return {
            "source": self._title,
            "frames": shown.count,
            "width": width,
            "height": height,
            "rate": round(shown.rate, 1),
            "latency_ms": round(1000 * shown.latency_seconds, 1),
            "dropped": shown.dropped,
            "reconnects": shown.reconnects,
            "confidence": round(float(shown.confidence.mean()), 3),
        }


def _bands(shown: Shown) -> bytes:
    """Before, after and confidence above each other in one JPEG, so that they belong to one frame."""
    after = shown.rgb(WIDTH_MAX)
    height, width = after.shape[:2]
    neutral = tuple(np.full_like(plane, 1 << (shown.frame.coding.bits - 1)) for plane in shown.chroma)
    before = Shown(**{**vars(shown), "chroma": neutral}).rgb(WIDTH_MAX)
    sure = heat(cv2.resize(shown.confidence, (width, height), interpolation=cv2.INTER_LINEAR))
    stacked = np.vstack([before, after, sure])
    return bytes(cv2.imencode(".jpg", stacked[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


class _Server6(ThreadingHTTPServer):
    """For an address of IPv6."""

    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def __init__(self, page: Page, local: bool, *connection: object) -> None:  # noqa: FBT001  # given by position
        self._page, self._local = page, local
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer, unless a page from elsewhere asks under a name of its own for what is meant for this machine."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if self._local and host not in LOOPBACK:
            self._answer(b"this page is for this machine only", "text/plain", HTTPStatus.FORBIDDEN)
            return
        address = urlsplit(self.path)
        routes: dict[str, Callable[[str], None]] = {"/": self._index, "/frame.jpg": self._frame, "/status.json": self._status}
        routes.get(address.path, self._missing)(address.query)

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002  # its name in the base class
        """Say nothing: a line per frame is no log."""

    def _index(self, _: str) -> None:
        self._answer(files("edgecolor").joinpath("page.html").read_bytes(), "text/html; charset=utf-8")

    def _frame(self, query: str) -> None:
        after = parse_qs(query).get("after", ["0"])[0]
        shown = self._page.newest(int(after) if re.fullmatch(r"[0-9]{1,18}", after) else 0)
        if shown is None:
            self._answer(b"", "image/jpeg", HTTPStatus.NO_CONTENT)
        else:
            self._answer(self._page.picture(shown), "image/jpeg", frame=shown.count)

    def _status(self, _: str) -> None:
        self._answer(json.dumps(self._page.status()).encode(), "application/json")

    def _missing(self, _: str) -> None:
        self._answer(b"not here", "text/plain", HTTPStatus.NOT_FOUND)

    def _answer(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, frame: int | None = None) -> None:
        if self._page.closed:
            self.close_connection = True
            return
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            if frame is not None:
                self.send_header("X-Frame", str(frame))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the browser is gone
            self.close_connection = True
