"""Long jobs: BentoML's task routes, behind which the work goes on after the answer to who submitted it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

from hedonic.serving.asgi import SCOPE_KEY, App, Exchange, Message, Receive, Scope, Send, send_json
from hedonic.serving.refusal import retry_after
from hedonic.serving.responses import error_body

SCORE = "/score"
TASK_ROUTES = tuple(f"{SCORE}/{name}" for name in ("submit", "status", "get", "cancel", "retry"))
_BEGINS = frozenset({f"{SCORE}/submit", f"{SCORE}/retry"})
_CANCEL = f"{SCORE}/cancel"

MAX_JOBS = 4
"""Jobs that run or wait at once in one process; each holds its table in memory."""

_LONGEST_ERROR = 65_536
_RETRY_AFTER_S = 5


class LongJobs:
    """ASGI middleware around BentoML's task routes.

    BentoML runs a task inside the exchange that submitted it, where it would keep a slot of the guard and
    count as one long request; here it runs on by itself. BentoML cancels nothing outside of its cloud; here
    a job that runs is ended. Errors get the shape that all have.
    """

    def __init__(self, app: App) -> None:
        """Wrap ``app``, BentoML's own."""
        self._app = app
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http" or scope["path"] not in TASK_ROUTES:
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, scope[SCOPE_KEY])
        if scope["path"] in _BEGINS:
            await self._begin(scope, receive, answer)
        elif scope["path"] == _CANCEL and scope["method"] == "PUT":
            await self._cancel(scope, receive, answer)
        else:
            await self._app(scope, receive, answer)

    async def _begin(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Answer once the job is taken; what BentoML does after its answer goes on."""
        if len(self._running) >= MAX_JOBS:
            told = f"{MAX_JOBS} jobs run or wait already; submit it again when one is finished"
            await answer.refuse(503, "overloaded", told)
            return

        async def run() -> None:
            await self._app(scope, receive, answer)

        job = asyncio.create_task(run())
        self._running.add(job)
        job.add_done_callback(self._running.discard)
        whole = asyncio.create_task(answer.whole.wait())
        try:
            await asyncio.wait({job, whole}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            whole.cancel()
        if job.done():
            await job  # raises what it raised
        elif (task_id := answer.content.get("task_id")) is not None:
            self._jobs[task_id] = job
            job.add_done_callback(lambda _: self._jobs.pop(task_id, None))

    async def _cancel(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """End the job, then let BentoML write down that it was canceled."""
        (task_id, *_) = parse_qs(scope["query_string"].decode("latin-1")).get("task_id", [""])
        job = self._jobs.get(task_id)
        if job is not None:
            job.cancel()
            await asyncio.wait({job})
        if job is None or not job.cancelled():
            told = "there is no job of this id that runs or waits; see /score/status"
            await answer.refuse(409, "not_running", told)
            return
        await self._app(scope, receive, _nowhere)
        body = json.dumps({"task_id": task_id, "status": "canceled"}).encode()
        await send_json(answer.send, 200, body)


class _Answer:
    """Passes an answer on; one that is BentoML's own error is given our shape."""

    def __init__(self, send: Send, exchange: Exchange) -> None:
        self.send, self._exchange = send, exchange
        self.whole = asyncio.Event()
        self.content: dict[str, Any] = {}
        self._start: Message = {}
        self._body = bytearray()
        self._n_bytes = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
            return
        if message["type"] == "http.response.body":
            await self._pass_on(message)
            return
        await self.send(message)

    async def _pass_on(self, message: Message) -> None:
        more, part = message.get("more_body", False), message.get("body", b"")
        self._n_bytes += len(part)
        if self._n_bytes <= _LONGEST_ERROR:
            self._body += part
        if not self._start:
            if not more and self._n_bytes <= _LONGEST_ERROR:
                self.content = _parsed(self._body)
            await self.send(message)
        elif not more:
            await self._send_error()
        if not more:
            self.whole.set()

    async def _send_error(self) -> None:
        status, content = self._start["status"], _parsed(self._body)
        if isinstance(content.get("error"), dict):  # the stored answer to a table that was refused
            self._exchange.answered = True
            await send_json(self.send, status, json.dumps(content).encode())
        elif status == 404:
            await self.refuse(404, "unknown_task", "there is no task of this id; a restart forgets them")
        elif status == 400 and "not completed" in str(content.get("error")):
            told = "the task has no result: it runs, waits, or was canceled; see /score/status"
            await self.refuse(409, "task_not_finished", told)
        elif status == 400:
            await self.refuse(400, "invalid_request", "name the task: ?task_id=<task id>")
        else:
            await self.send(self._start)  # the envelope gives it its body
            await self.send({"type": "http.response.body", "body": b""})

    async def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error of ours."""
        self._exchange.answered = True
        headers = (retry_after(_RETRY_AFTER_S),) if status == 503 else ()
        await send_json(self.send, status, error_body(code, message, self._exchange.request_id), headers)
        self.whole.set()


def _parsed(body: bytes | bytearray) -> dict[str, Any]:
    try:
        content = json.loads(bytes(body))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


async def _nowhere(_message: Message) -> None:
    return
