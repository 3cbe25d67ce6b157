"""The page as a Starlette application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from hedonic.front_page.door import Door, Manners, read_tokens
from hedonic.front_page.gathering import Gathering
from hedonic.front_page.page import icon, render
from hedonic.front_page.rounds import Rounds
from hedonic.serving.listening import is_loopback
from hedonic.settings import Settings

_OURS = {"127.0.0.1", "localhost", "::1"}


def make_app(settings: Settings, *, rounds: bool = True) -> Starlette:
    """Return the front page of a project.

    Raises:
        UserError: it would stand open beyond loopback.
    """
    tokens = read_tokens(settings)
    # Under another name a page elsewhere could read ours through its visitor's browser.
    hosts = sorted(_OURS) if is_loopback(settings.host) else ["*"]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        settings.data_docs.mkdir(parents=True, exist_ok=True)
        # trust_env: a proxy is not asked for what runs here.
        async with httpx.AsyncClient(trust_env=False, timeout=8.0) as client:
            app.state.gathering = Gathering(settings, client)
            task = asyncio.create_task(Rounds(settings, app.state.gathering).walk()) if rounds else None
            yield
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/api/state", tell_state),
            Route("/healthz", tell_health),
            Route("/favicon.ico", show_icon),
            Mount("/data-docs", StaticFiles(directory=settings.data_docs, html=True, check_dir=False)),
        ],
        middleware=[
            Middleware(Manners),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts),
            Middleware(Door, tokens=tokens),
        ],
        exception_handlers={404: say_nothing_is_here},
        lifespan=lifespan,
    )


async def show_page(request: Request) -> Response:
    """Return the page."""
    gathering: Gathering = request.app.state.gathering
    state = await gathering.state(request.url.hostname or "127.0.0.1")
    return HTMLResponse(render(state))


async def tell_state(request: Request) -> Response:
    """Return what the page shows, as JSON; its schema is that of ``State``."""
    gathering: Gathering = request.app.state.gathering
    state = await gathering.state(request.url.hostname or "127.0.0.1")
    return JSONResponse(state.model_dump(mode="json"))


async def tell_health(_request: Request) -> Response:
    """Return 200: it answers."""
    return PlainTextResponse("ready\n")


async def show_icon(_request: Request) -> Response:
    """Return the icon, also for pages that do not name one."""
    return Response(icon(), media_type="image/svg+xml")


async def say_nothing_is_here(_request: Request, _error: Exception) -> Response:
    """Return 404, and what there will be."""
    told = "There is nothing here. Data Docs are written by the first validation: start a run.\n"
    return PlainTextResponse(told, 404)
