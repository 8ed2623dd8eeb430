from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from fakes import Picture, fake_colorizer, scene

from edgecolor import SourceError
from edgecolor._capture import Frame
from edgecolor._live import Shown
from edgecolor._planes import Coding
from edgecolor._serve import Page

CODING = Coding("bt601", full_range=True)


def _shown(count: int = 1, size: tuple[int, int] = (90, 160)) -> Shown:
    steady = fake_colorizer().steady()
    y = cv2.GaussianBlur(scene(*size, seed=count), (0, 0), 2)
    frame = Frame(y, CODING, count, time.monotonic())
    return Shown(frame, steady.chroma_planes(y, **CODING._asdict()), steady.confidence, count, 29.97, 0.0123, 7, 2)


def _has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        return True
    return False


@pytest.fixture
def page() -> Iterator[Page]:
    with Page("tap", port=0) as page:
        yield page
    assert not [thread.name for thread in threading.enumerate() if thread.name == "edgecolor page"]


def _get(page: Page, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(urlsplit(page.address).netloc, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def _bands(jpeg: bytes) -> tuple[Picture, Picture, Picture]:
    picture = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
    before, after, sure = np.vsplit(picture, 3)
    return before, after, sure


def test_the_frame_is_before_after_and_confidence(page: Page) -> None:
    page.show(_shown(4))
    status, headers, jpeg = _get(page, "/frame.jpg?after=0")
    assert (status, headers["Content-Type"], headers["X-Frame"]) == (200, "image/jpeg", "4")
    before, after, sure = _bands(jpeg)
    assert before.shape == (90, 160, 3)
    assert np.abs(before.mean(-1) - _shown(4).frame.y).mean() < 1.5
    assert np.ptp(before.astype(int), axis=-1).mean() < 1.5
    assert np.abs(after.astype(int) - _shown(4).rgb()).mean() < 8
    assert sure[:, -8:].sum() > sure[:, :8].sum()  # the fake is surer to the right


def test_a_browser_gets_only_what_is_new(page: Page) -> None:
    page.show(_shown(1))
    asked: list[tuple[int, dict[str, str], bytes]] = []
    waiting = threading.Thread(target=lambda: asked.append(_get(page, "/frame.jpg?after=1")))
    waiting.start()
    time.sleep(0.1)
    assert not asked
    page.show(_shown(2))
    page.show(_shown(3))
    waiting.join(10)
    assert int(asked[0][1]["X-Frame"]) in (2, 3)


def test_without_news_there_is_no_content(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecolor._serve.WAIT_SECONDS", 0.05)
    assert _get(page, "/frame.jpg?after=0")[0] == 204
    page.show(_shown(3))
    assert _get(page, "/frame.jpg?after=3")[0] == 204
    for number in ("x", "9" * 5000):
        assert _get(page, f"/frame.jpg?after={number}")[0] == 200


def test_the_status_says_rate_latency_and_drops(page: Page) -> None:
    assert json.loads(_get(page, "/status.json")[2]) == {"source": "tap", "frames": 0}
    page.show(_shown(5))
    status = json.loads(_get(page, "/status.json")[2])
    assert status.pop("confidence") == pytest.approx(0.5, abs=0.05)
    assert status == {
        "source": "tap",
        "frames": 5,
        "width": 160,
        "height": 90,
        "rate": 30.0,
        "latency_ms": 12.3,
        "dropped": 7,
        "reconnects": 2,
    }


def test_large_frames_are_sent_smaller(page: Page) -> None:
    page.show(_shown(1, (1080, 1920)))
    before, _, _ = _bands(_get(page, "/frame.jpg")[2])
    assert before.shape == (720, 1280, 3)


def test_it_listens_on_loopback_only_and_only_under_its_own_name(page: Page) -> None:
    assert page.address.startswith("http://127.0.0.1:")
    port = urlsplit(page.address).port
    assert _get(page, "/", Host=f"localhost:{port}")[0] == 200
    assert _get(page, "/", Host=f"127.0.0.1:{port}")[0] == 200
    for name in ("evil.example", f"evil.example:{port}", ""):
        assert _get(page, "/status.json", Host=name)[0] == 403


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
def test_it_listens_on_an_address_of_ipv6() -> None:
    with Page("tap", "[::1]", 0) as page:
        assert _get(page, "/status.json")[0] == 200


def test_answers_are_kept_by_no_browser_and_are_what_they_say(page: Page) -> None:
    page.show(_shown(1))
    for path in ("/", "/frame.jpg?after=0", "/status.json", "/none"):
        headers = _get(page, path)[1]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/page.html", "/../pyproject.toml", "/frame"])
def test_there_is_nothing_else(page: Page, path: str) -> None:
    assert _get(page, path)[0] == 404


def test_a_taken_port_is_named(page: Page) -> None:
    with pytest.raises(SourceError, match="choose another port"):
        Page("tap", port=urlsplit(page.address).port or 0)


def test_closing_lets_waiting_browsers_go() -> None:
    page = Page("tap", port=0)
    ended = threading.Event()

    def ask() -> None:
        with suppress(HTTPException, OSError):  # it may be hung up on
            _get(page, "/frame.jpg?after=9")
        ended.set()

    waiting = threading.Thread(target=ask, daemon=True)
    waiting.start()
    time.sleep(0.1)
    page.close()
    assert ended.wait(5)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(page.address, timeout=2)  # noqa: S310  # our own address


# In a real browser


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """Chromium without a window, spoken to over a pipe (Chrome DevTools Protocol)."""

    def __init__(self, folder: Path) -> None:
        command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += [f"--user-data-dir={folder}", "--window-size=900,900", "--remote-debugging-pipe", "about:blank"]
        reading, self._write = os.pipe()
        self._read, writing = os.pipe()
        # it reads from descriptor 3 and writes to 4, which here may be anything
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (reading, writing)]
        launch = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
        )
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", launch, *map(str, ends), *command],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (reading, writing, *ends):
            os.close(end)
        self._number, self._rest, self._session = 0, b"", ""
        (target,) = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]

    def call(self, method: str, **values: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                part = os.read(self._read, 1 << 20)
                assert part, "the browser has ended"
                self._rest += part
            text, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"].get("value")

    def wait(self, script: str) -> None:
        deadline = time.monotonic() + 20
        while not self.value(script):
            assert time.monotonic() < deadline, script
            time.sleep(0.05)

    def screenshot(self) -> Picture:
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._write)
        os.close(self._read)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def _canvas(browser: Browser) -> Picture:
    """The pixels of the canvas, (H, W, 3)."""
    url = str(browser.value("of('picture').toDataURL()"))
    png = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR))[..., ::-1].astype(int)


def _chroma(picture: Picture) -> float:
    """How far from grey, of 255."""
    return float(np.ptp(picture, axis=-1).mean())


def test_the_page_in_chromium(page: Page, browser: Browser) -> None:
    page.show(_shown(1, (180, 320)))
    browser.call("Page.navigate", url=page.address)
    browser.wait("typeof bands !== 'undefined' && bands !== null")
    assert _canvas(browser).shape == (180, 320, 3)
    left, right = np.hsplit(_canvas(browser), 2)
    assert _chroma(left) < 5
    assert _chroma(right) > 20

    browser.wait("of('rate').textContent === '30' && of('dropped').textContent === '7'")
    assert browser.value("of('latency').textContent") == "12.3 ms"
    assert browser.value("of('source').textContent") == "tap, 320 \u00d7 180"

    for value, coloured in ((0, True), (1000, False)):
        browser.value(f"of('slider').value = {value}; of('slider').dispatchEvent(new Event('input'))")
        assert (_chroma(_canvas(browser)) > 20) == coloured

    box = json.loads(browser.value("JSON.stringify(of('picture').getBoundingClientRect())"))
    for kind in ("mousePressed", "mouseReleased"):
        x, y = box["left"] + 0.25 * box["width"], box["top"] + 20
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert abs(int(browser.value("of('slider').value")) - 250) < 10
    assert _chroma(_canvas(browser)[:, :70]) < 5
    assert _chroma(_canvas(browser)[:, 90:]) > 20

    plain = _canvas(browser)
    browser.value("of('overlay').click()")
    assert np.abs(_canvas(browser) - plain)[:, 90:].mean() > 10
    browser.value("of('overlay').click()")

    page.show(_shown(2, (180, 320)))
    browser.wait("number === 2")
    assert np.abs(_canvas(browser) - plain).mean() > 10
    if os.environ.get("EDGECOLOR_SCREENSHOT"):
        cv2.imwrite(os.environ["EDGECOLOR_SCREENSHOT"], browser.screenshot())
    page.close()
    browser.wait("of('said').textContent.startsWith('edgecolor has ended')")
