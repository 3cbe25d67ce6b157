"""``python -m hedonic.front_page``: the page on its port, until it is asked to end."""

from __future__ import annotations

import logging
import sys

import uvicorn

from hedonic.errors import HedonicError
from hedonic.front_page.app import make_app
from hedonic.settings import load_settings


def main() -> int:
    """Return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = load_settings()
        app = make_app(settings)
    except HedonicError as err:
        logging.getLogger("hedonic.front_page").error("%s", err)
        return err.exit_code
    uvicorn.run(
        app, host=settings.host, port=settings.ports.front_page, log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=3,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
