"""A headless Chromium, spoken to over its DevTools protocol: what a page shows, asks for and says."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

_START_S = 60.0


def chromium_or_fail() -> str:
    """The browser's path; a proof that cannot be made is a failure, not a pass."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("chromium is missing; .ci/run installs it (apt-get install chromium)")
    return found


class Page:
    """One page. `requests`: addresses it asked for beside its own; `complaints`: console, log."""

    def __init__(self, socket: Connection) -> None:
        self._socket = socket
        self._number = 0
        self._loaded = 0
        self.url = ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Network", "Log", "Runtime", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command, and its answer; events that come meanwhile are noted."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                answer: dict[str, Any] = message["result"]
                return answer
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        what, params = message.get("method", ""), message.get("params", {})
        if what == "Network.requestWillBeSent":
            asked = params["request"]["url"]
            if asked != self.url and not asked.startswith("data:"):
                self.requests.append(asked)
        elif what in {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
            self.complaints.append(json.dumps(params))
        elif what == "Page.loadEventFired":
            self._loaded += 1

    def open(self, path: Path, *, width: int, dark: bool = False) -> None:
        """Show a file in a window of this width."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.url = path.as_uri()
        before = self._loaded
        self.call("Page.navigate", url=self.url)
        until = time.monotonic() + 30
        while self._loaded == before:
            assert time.monotonic() < until, "the page does not load"
            self.call("Runtime.evaluate", expression="1")

    def value(self, expression: str) -> Any:
        """What an expression gives within the page (its own policy forbids the page any script)."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, to: Path) -> bytes:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        data = base64.b64decode(shot["data"])
        to.write_bytes(data)
        return data

    def print(self, to: Path) -> None:
        """The page as PDF, A4."""
        printed = self.call(
            "Page.printToPDF", printBackground=False, preferCSSPageSize=True,
            paperWidth=8.27, paperHeight=11.69,
        )  # fmt: skip
        to.write_bytes(base64.b64decode(printed["data"]))


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """A browser with its profile in a folder, and its one page."""
    profile = folder / "profile"
    command = [
        chromium_or_fail(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking",
        "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    with Path(folder, "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            with connect(_page_address(profile, process), max_size=None) as socket:
                yield Page(socket)
        finally:
            process.kill()
            process.wait()


def _page_address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    import urllib.request

    until = time.monotonic() + _START_S
    told = profile / "DevToolsActivePort"
    while time.monotonic() < until and process.poll() is None:
        if told.exists() and "\n" in told.read_text():
            port = told.read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    pytest.fail("chromium did not start")
