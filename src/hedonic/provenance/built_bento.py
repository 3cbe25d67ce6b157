"""A built bento, read back: the digest that its own bytes give."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from hedonic.errors import ReleaseRefused
from hedonic.model.manifest import verify_release
from hedonic.promotion.bento import BAKED

_CODE = {"hedonic": "src/hedonic", "bentos": "bentos"}
"""Where the project keeps each folder of a bento's sources."""


def built_digest(bento: Path) -> str:
    """Return the digest of a bento by the release, sources, lock and BentoML's version that it holds.

    That of its tag, while nobody touched it; what BentoML itself wrote beside them does not count.

    Raises:
        ReleaseRefused: its release is not what it should be, or a part of it is missing.
    """
    try:
        facts: Any = yaml.safe_load((bento / "bento.yaml").read_text(encoding="utf-8"))
        (release,) = (bento / "src" / BAKED).iterdir()
        lock = (bento / "env" / "python" / "requirements.txt").read_bytes()
        sources = {
            f"{place}/{path.relative_to(bento / 'src' / folder).as_posix()}": _sha256(path.read_bytes())
            for folder, place in _CODE.items()
            for path in (bento / "src" / folder).rglob("*.py")
        }
        bentoml = facts["bentoml_version"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as err:
        raise ReleaseRefused(f"bento {bento.name}: not whole: {err}. `hedonic run` builds it again.") from err
    manifest = verify_release(release)
    content = {"release": manifest.digest, "sources": sources, "lock": _sha256(lock), "bentoml": bentoml}
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
