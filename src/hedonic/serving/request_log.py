"""The log: one JSON object a line, with the id of the request it is about, never with a body."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hedonic.serving.asgi import Exchange

REQUEST_ID: ContextVar[str] = ContextVar("hedonic_request_id", default="")
FIELDS = "hedonic_fields"

_access = logging.getLogger("hedonic.access")


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON.

    Keys: ``time`` (UTC), ``level``, ``logger``, ``message``, ``request_id`` where there is one,
    ``traceback`` where something failed, and the fields that the caller gave in ``extra``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line.update(getattr(record, FIELDS, {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json(level: int = logging.INFO) -> None:
    """Make every logger of this process write lines of JSON to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    for name in list(root.manager.loggerDict):
        logger = logging.getLogger(name)
        if logger.handlers:
            logger.handlers, logger.propagate = [], True
    logging.getLogger("hedonic").setLevel(level)
    # uvicorn words its line about every request before the level drops it; ours says more (``log_access``).
    logging.getLogger("uvicorn.access").propagate = False


def log_access(exchange: Exchange, duration_s: float) -> None:
    """Write one line about a request that was answered."""
    fields = {
        "request_id": exchange.request_id,
        "method": exchange.method,
        "path": exchange.path,
        "client": exchange.client,
        "status": exchange.status,
        "duration_ms": round(duration_s * 1e3, 3),
    }
    if exchange.release:
        fields["release"] = exchange.release
    _access.info("%s %s %d", exchange.method, exchange.path, exchange.status, extra={FIELDS: fields})
