"""What Prefect tells is asked for as its server wants to be asked."""

from __future__ import annotations

import asyncio
import base64

import httpx
import pytest
from pydantic import SecretStr

from hedonic.front_page.flow_runs import Orchestration, Prefect

KNOWN = "Basic " + base64.b64encode(b"admin:a:word").decode()


def ask(known: SecretStr | None, wanted: str | None) -> Orchestration:
    """Return what is told by a server that asks for that header."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != wanted:
            return httpx.Response(401)
        return httpx.Response(200, json={"events": []} if request.url.path.endswith("events/filter") else [])

    async def asking() -> Orchestration:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await Prefect(client, "http://prefect/api", known).ask()

    return asyncio.run(asking())


def test_a_server_that_asks_who_calls_is_told() -> None:
    assert ask(SecretStr("admin:a:word"), KNOWN) == ask(None, None) == Orchestration()


def test_one_that_does_not_know_us_is_an_error() -> None:
    with pytest.raises(OSError, match="401"):
        ask(None, KNOWN)
