"""Golden rows, asked again: a release answers them as it did when it was made, or it is not served."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hedonic.errors import ReleaseRefused
from hedonic.model.manifest import read_golden, read_manifest
from hedonic.serving.traffic_plan import CHAMPION_KEY, KEY_HEADER

TOLERANCE = 1e-9


def differences(got: Any, wanted: Any, path: str = "") -> list[str]:
    """Return where two JSON values differ: numbers by more than 1e-9 relative, all else at all."""
    if type(got) is dict and type(wanted) is dict and got.keys() == wanted.keys():
        return [line for key in wanted for line in differences(got[key], wanted[key], f"{path}.{key}")]
    if type(got) is list and type(wanted) is list and len(got) == len(wanted):
        pairs = enumerate(zip(got, wanted, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{path}[{i}]")]
    if isinstance(got, float) and isinstance(wanted, float):
        same = math.isclose(got, wanted, rel_tol=TOLERANCE, abs_tol=0.0)
    else:
        same = type(got) is type(wanted) and got == wanted
    return [] if same else [f"{path.lstrip('.')}: got {got!r}, wanted {wanted!r}"]


def verify_served(
    url: str, folder: Path, timeout_s: float = 10.0, headers: Mapping[str, str] | None = None
) -> int:
    """Return the number of golden rows that the endpoint at ``url`` answered as the release says.

    Args:
        url: of the endpoint, such as ``http://127.0.0.1:3000``.
        folder: the release it is meant to serve.
        timeout_s: of each request.
        headers: sent with each request, such as the endpoint's token.

    Raises:
        ReleaseRefused: it serves another release, does not answer, or answers otherwise.
    """
    release, golden = read_manifest(folder).digest, read_golden(folder)
    for row, (instance, wanted) in enumerate(zip(golden.instances, golden.answers, strict=True)):
        where = f"{url}/predict: golden row {row} of release {release[:16]}"
        answer = _ask(f"{url}/predict", {"instances": [instance]}, where, timeout_s, headers or {})
        served = answer["model"]["release"]
        if served != release:
            raise ReleaseRefused(f"{where}: answered by release {served[:16]}. Restart the endpoint.")
        if wrong := differences(answer["predictions"], [wanted]):
            raise ReleaseRefused(f"{where}: {'; '.join(wrong)}. Go back: `hedonic rollback`.")
    return len(golden.instances)


def _ask(url: str, content: dict[str, Any], where: str, timeout_s: float, more: Mapping[str, str]) -> Any:
    # By the champion, whatever challenger is tried beside it.
    headers = {"Content-Type": "application/json", KEY_HEADER: CHAMPION_KEY, **more}
    body = json.dumps(content).encode()
    request = urllib.request.Request(url, body, headers)  # noqa: S310 (the address of an endpoint of ours)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as err:
        said = err.read(2000).decode(errors="replace")
        raise ReleaseRefused(f"{where}: status {err.code}: {said}") from err
    except (OSError, ValueError) as err:
        raise ReleaseRefused(f"{where}: no answer: {err}") from err
