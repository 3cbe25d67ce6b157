"""Where the CPU of a prediction goes, layer by layer: ``python -m benchmarks.request_profile RELEASE``.

Measured in this process, without a socket: each layer is what it adds to those inside it, the least of many
rounds of CPU time. ``benchmarks.serving --profile`` puts what the served process uses beside it; the
difference is the server: the socket, the protocol, metrics, and caches that other work has emptied.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from hedonic.model.artifact import PortableModel
from hedonic.model.manifest import MODEL, read_golden
from hedonic.serving.answer_record import answer_record
from hedonic.serving.answering import Answering
from hedonic.serving.asgi import App, Exchange, Message, Scope
from hedonic.serving.envelope import Envelope
from hedonic.serving.fast_path import FastPath
from hedonic.serving.guard import Guard
from hedonic.serving.guard_settings import GuardSettings
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.predictor import Release, load_release
from hedonic.serving.responses import JSON_TYPE, joint_predict_response
from hedonic.serving.schema import VALUATION_DATE, Rows

TOGETHER = 8
ROUNDS = 200
REQUESTS = 40
"""Requests a round; a multiple of TOGETHER."""

SERVER = "server, protocol, metrics"
LAYERS = ("schema", "features", "trees", "response", "envelope and guard", "log")


def layers(folder: Path, n_together: int) -> dict[str, float]:
    """Return the CPU time of a request by layer, in microseconds, where so many are answered together."""
    release, model = load_release(folder), PortableModel.load(folder / MODEL)
    instances = [dict(row) for row in read_golden(folder).instances]
    for row in instances:
        row.pop(VALUATION_DATE, None)  # as a caller asks who wants to know what a house is worth now
    bodies = [json.dumps({"instances": [instances[n % len(instances)]]}).encode() for n in range(n_together)]
    read, app = release.predictor.schema.read, _gateway(release)
    rows = Rows.joined([read(body) for body in bodies])
    matrix, times = model.features.apply(model.dated(rows.columns)), REQUESTS // n_together
    least = _least_us(
        {
            "schema": lambda: [read(body) for _ in range(times) for body in bodies],
            "features": lambda: [model.features.apply(model.dated(rows.columns)) for _ in range(times)],
            "trees": lambda: [
                (model.point.predict(matrix), model.width.predict(matrix)) for _ in range(times)
            ],
            "answer": lambda: uvloop.run(_repeated(lambda: _answers(release, bodies), times)),
            "exchange": lambda: uvloop.run(_repeated(lambda: _exchanges(app, bodies), times)),
            "loop": lambda: uvloop.run(_repeated(lambda: _answers(release, []), times)),
        }
    )
    inner = {name: least[name] for name in ("schema", "features", "trees")}
    return {
        **inner,
        "response": least["answer"] - least["loop"] - sum(inner.values()),
        "envelope and guard": least["exchange"] - least["answer"],
        "log": _log_us(release, bodies[0]),
    }


def _least_us(works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the least CPU time of a request, REQUESTS of which are one piece of work, all asked in turn."""
    found: dict[str, list[int]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            began = time.process_time_ns()
            work()
            found[name].append(time.process_time_ns() - began)
    return {name: min(times) / REQUESTS / 1000 for name, times in found.items()}


async def _repeated(ask: Callable[[], Awaitable[Any]], times: int) -> None:
    for _ in range(times):
        await ask()


async def _answers(release: Release, bodies: Sequence[bytes]) -> None:
    await asyncio.gather(*(joint_predict_response(release, JSON_TYPE, body, "0" * 32) for body in bodies))


def _gateway(release: Release) -> App:
    """Return what answers, as the service has it but for BentoML and the log."""

    async def nothing(*_: Any) -> None:
        raise AssertionError("every request is answered before")

    answering = Answering(lambda: release)
    return Envelope(Guard(FastPath(nothing, lambda: answering), GuardSettings()))


async def _exchanges(app: App, bodies: Sequence[bytes]) -> None:
    await asyncio.gather(*(_exchange(app, body) for body in bodies))


async def _exchange(app: App, body: bytes) -> None:
    headers = [(b"host", b"127.0.0.1"), (b"content-type", JSON_TYPE.encode())]
    headers.append((b"content-length", str(len(body)).encode()))
    scope: Scope = {
        "type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message.get("status", 200) != 200:
            raise AssertionError(f"answered {message['status']}")

    await app(scope, receive, send)


def _log_us(release: Release, body: bytes) -> float:
    """Return the CPU time of a logged answer, the writer's thread included, in mode ``fast``."""
    _, content = uvloop.run(joint_predict_response(release, JSON_TYPE, body, "0" * 32))
    n_answers = 50 * REQUESTS
    with TemporaryDirectory() as folder:
        log = PredictionLog.open(str(Path(folder) / "log.db"))
        began = time.process_time_ns()
        for _ in range(n_answers):
            log.record(answer_record(Exchange("POST", "/predict"), body, release, content))
        log.close(60)
        return (time.process_time_ns() - began) / n_answers / 1000


def main() -> None:
    """Print the layers as one JSON object, by how many requests are answered together."""
    folder = Path(sys.argv[1])
    print(json.dumps({n: layers(folder, n) for n in (1, TOGETHER)}))


if __name__ == "__main__":
    main()
