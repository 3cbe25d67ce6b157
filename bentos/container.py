"""The container's command: one process that serves the release baked into its bento, on PORT.

``docker run IMAGE`` and ``docker run IMAGE serve`` (Amazon's word) are the same. `bentoml serve` would put
a supervisor between the engine and the process that answers: twice the memory, and what restarts a
container is the engine.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bentos.preflight import preflight
from hedonic.errors import HedonicError, UserError
from hedonic.served_settings import ListenSettings, read_listen_settings

BENTO = Path(__file__).resolve().parents[2]
METRICS = "PROMETHEUS_MULTIPROC_DIR"


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM; return the exit code."""
    # The first process of a container has no default handler: without ours a stop waits for the kill.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _refuse_words(arguments)
        settings = read_listen_settings()
        preflight(settings.host)
        opened = _opened(settings)
    except HedonicError as err:
        sys.stderr.write(f"{err}\n")
        return err.exit_code
    os.environ[METRICS] = tempfile.mkdtemp(prefix="metrics-")
    from _bentoml_impl.worker.service import main as serve

    worker = ("--fd", str(opened.detach()), "--service-name", "Valuation", "--worker-id", "1")
    serve([str(BENTO), *worker], standalone_mode=False)
    return 0


def _refuse_words(arguments: Sequence[str]) -> None:
    if list(arguments) not in ([], ["serve"]):
        raise UserError(
            f"{' '.join(arguments)}: this image knows `serve` alone, which is what it does unasked."
        )


def _opened(settings: ListenSettings) -> socket.socket:
    """Return a socket on the port, which refuses until the service is ready and listens."""
    opened = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((settings.host, settings.port))
    except OSError as err:
        raise UserError(f"{settings.host}:{settings.port}: cannot be listened on: {err}. Set PORT.") from err
    return opened


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
