"""A real browser: Debian's Chromium, driven by Playwright, and what it saw go wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, Response, sync_playwright

# Prefect's second UI asks its makers' analytics host from the browser whatever the settings say.
NOT_OURS = ("amplitude.com",)


@dataclass  # without slots: Playwright keeps its wrappers on whom it calls
class Seen:
    """What a page did beside showing itself.

    Attributes:
        beyond: addresses beyond loopback that it asked for, those of ``NOT_OURS`` left out.
        errors: what it wrote to the console as an error, and scripts that failed, by page.
        refused: addresses on loopback that answered with an error.
    """

    beyond: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("request", self._request)
        page.on("console", lambda message: self._console(page, message))
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        page.on("response", self._response)

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        if (
            parts.scheme in ("http", "https", "ws", "wss")
            and host != "127.0.0.1"
            and not host.endswith(NOT_OURS)
        ):
            self.beyond.append(request.url)

    def _console(self, page: Page, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{page.url}: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.refused.append(f"{response.status} {response.url}")


@contextmanager
def browser(width: int = 1280, height: int = 900) -> Iterator[tuple[Page, Seen]]:
    """Yield a page of a headless Chromium, and what it sees go wrong."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install -y chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page, seen = running.new_page(viewport={"width": width, "height": height}), Seen()
        seen.watch(page)
        try:
            yield page, seen
        finally:
            running.close()
