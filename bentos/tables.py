"""Tables over HTTP: the message that brings one, and the response that takes its answer away."""

from __future__ import annotations

import asyncio
from typing import Any

from _bentoml_sdk import IODescriptor  # type: ignore[import-untyped]
from starlette.requests import Request
from starlette.responses import Response

from bentos.messages import rows_schema
from bentos.pages import not_ready
from bentos.worker import WORKER
from hedonic.serving.asgi import SCOPE_KEY, Exchange, Receive, Scope, Send
from hedonic.serving.long_jobs import SCORE
from hedonic.serving.table_answering import Table, TableAnswer

TABLE_LIMIT_S = 60.0
"""For the answer to a table: Amazon SageMaker waits as long for a container."""

_SEND_LIMIT_S = 120.0


class TableRequest(IODescriptor):  # type: ignore[misc]
    """The rows to be valued, as many as fit into the limit of a table's bytes; over HTTP also as CSV."""

    instances: Any

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> TableRequest:
        """Return the raw table; a task that is tried again comes without its exchange."""
        exchange = request.scope.get(SCOPE_KEY) or Exchange(request.method, request.url.path)
        table = Table(
            exchange=exchange,
            media_type=request.headers.get("content-type", ""),
            accept=request.headers.get("accept", ""),
            body=await request.body(),
        )
        parsed: TableRequest = cls.model_construct(instances=table)
        return parsed

    @classmethod
    def model_json_schema(cls, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Return what BentoML's client needs to know; see ``rows_schema``."""
        return rows_schema(cls.__name__)


class TableResponse(Response):
    """An answer in parts, sent one after the other to who takes them."""

    def __init__(self, answer: TableAnswer) -> None:
        """Take the answer."""
        headers = {"content-length": str(answer.n_bytes)}
        if answer.status == 503:
            headers["retry-after"] = "1"
        super().__init__(None, answer.status, headers, answer.media_type)
        self._parts = answer.parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, to a caller who takes it in time."""
        async with asyncio.timeout(_SEND_LIMIT_S):
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            for part in self._parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        if self.background is not None:
            await self.background()


async def answer_job(table: Table) -> Response:
    """Return the same for a long job, when it is its turn; asked for at once it is no job."""
    if table.exchange.path == SCORE:
        return await answer_table(table, TABLE_LIMIT_S)
    async with WORKER.one_job:
        return await answer_table(table, None)


async def answer_table(table: Table, limit_s: float | None) -> Response:
    """Return the answer to a table by the release that is served now."""
    served = WORKER.served
    if served is None:
        return not_ready()
    return TableResponse(await WORKER.tables.answer(table, served.release, limit_s))
