"""Tell a web hook: that a release may be deployed, or that a run failed."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CANNOT = 1


def main() -> int:
    """Return 0 when the hook took it, 1 when it did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url-from", required=True, choices=["-"], help="-: the URL, a secret, is on stdin")
    parser.add_argument("--field", action="append", default=[], metavar="NAME=VALUE")
    asked = parser.parse_args()
    url = sys.stdin.read().strip()
    fields = dict(field.partition("=")[::2] for field in asked.field)
    try:
        sys.stdout.write(f"web hook: {post(url, fields)}\n")
    except (OSError, ValueError) as err:
        sys.stderr.write(f"web hook: {_without_secret(err)}\n")
        return CANNOT
    return 0


def post(url: str, fields: dict[str, str], timeout_s: float = 30.0) -> int:
    """Return the status with which the hook took the fields as a JSON object.

    Raises:
        ValueError: the URL is none, or would send its secret in the clear.
        OSError: nobody answers, or refuses.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ValueError("the URL is not https://, and its path is a secret")
    request = urllib.request.Request(  # noqa: S310
        url, json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
        return int(answer.status)


def _without_secret(err: Exception) -> str:
    """Return what went wrong, without the URL."""
    if isinstance(err, urllib.error.HTTPError):
        return f"answered {err.code}"
    return str(err.reason) if isinstance(err, urllib.error.URLError) else str(err)


if __name__ == "__main__":
    sys.exit(main())
