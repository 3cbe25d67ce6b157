"""Does an image answer as its release promises? It is run hardened, and asked what is known."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from delivery.champion import find_champion
from hedonic.errors import HedonicError
from hedonic.serving.golden import verify_served
from hedonic.settings import load_settings

READY_LIMIT_S = 60.0
INSIDE = 8080
HARDENED = (
    "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",  # noqa: S108
    "--memory", "512m", "--cpus", "1",
)  # fmt: skip


def main() -> int:
    """Return 0 when the image answered its golden rows to 1e-9, 1 after saying what it did instead."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="whose champion's image it is")
    parser.add_argument("--image", help="default: named as the champion's bento")
    parser.add_argument("--docker", default="docker", help="the engine's command")
    parser.add_argument("--ready-limit", type=float, default=READY_LIMIT_S, metavar="SECONDS")
    asked = parser.parse_args()
    try:
        champion = find_champion(load_settings(), asked.dataset)
        image = asked.image or champion.bento
        ready_s, n_rows = check(asked.docker, image, champion.release, asked.ready_limit)
    except HedonicError as err:
        sys.stderr.write(f"image of {asked.dataset}: {err}\n")
        return err.exit_code
    sys.stdout.write(f"ready_s={ready_s:.1f}\nknown_predictions={n_rows}\n")
    return 0


def check(docker: str, image: str, release: Path, ready_limit_s: float) -> tuple[float, int]:
    """Return after how long the image was ready, and how many golden rows it answered as the release says.

    Raises:
        HedonicError: it does not start, is not ready in time, or answers otherwise.
    """
    begun = time.monotonic()
    # A token is not needed: the port is published on loopback alone.
    container = _docker(
        docker, "run", "--detach", *HARDENED, "--env", "HEDONIC_GUARD__ALLOW_ANONYMOUS=true",
        "--publish", f"127.0.0.1::{INSIDE}", image,
    )  # fmt: skip
    try:
        address = _docker(docker, "port", container, f"{INSIDE}/tcp").splitlines()[0]
        url = f"http://{address}"
        while not _is_ready(url):
            if time.monotonic() - begun > ready_limit_s:
                said = _docker(docker, "logs", container)[-1000:]
                raise HedonicError(f"not ready within {ready_limit_s:g} s. Its log: {said}")
            time.sleep(0.1)
        return time.monotonic() - begun, verify_served(url, release)
    finally:
        _docker(docker, "rm", "--force", container)


def _is_ready(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _docker(docker: str, *arguments: str) -> str:
    done = subprocess.run([docker, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise HedonicError(
            f"{docker} {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-1000:]}"
        )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
