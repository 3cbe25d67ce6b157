"""Provenance: what the releases that are kept were made from, as far as it is on disk."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hedonic.custody.claim import Claims, Retention
from hedonic.custody.holding import Holding
from hedonic.custody.known_release import KnownRelease
from hedonic.errors import HedonicError
from hedonic.model.manifest import read_manifest

_DIGEST = re.compile(rb'"([0-9a-f]{64})"')
_OF_A_CANDIDATE = ("evaluate", "decide", "release")


@dataclass
class Provenance:
    """Digests that something kept was made from, each with what that is.

    Attributes:
        claims: why each candidate, snapshot and report is kept.
        undertakings: digests of the runs that made kept releases.
    """

    claims: Claims = field(default_factory=dict)
    undertakings: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, releases: Path, kept: Iterable[str], known: Mapping[str, KnownRelease]) -> Provenance:
        """Return what the kept releases of one data set were made from.

        Args:
            releases: the folder of its releases.
            kept: their digests.
            known: what the history says of them.
        """
        found = cls()
        for digest in kept:
            named = known.get(digest)
            records = named.records if named is not None else ()
            found.undertakings |= {record.recipe for record in records if record.recipe}
            told = [record.model_dump_json().encode() for record in records]
            with contextlib.suppress(HedonicError):  # `hedonic verify` tells
                told.append(read_manifest(releases / digest).to_bytes())
            made = {name.decode() for content in told for name in _DIGEST.findall(content)}
            found.claims |= dict.fromkeys(made, f"release {digest[:12]} was made from it")
        return found

    def claim_steps(self, steps: Iterable[Holding], retention: Retention) -> Claims:
        """Return why records of steps are kept, by their paths; what those name is kept from now on, too."""
        read = {step: step.read() for step in steps}
        why = {step: told for step in read if (told := self._why(step, read[step], read, retention))}
        trained = [read[step].get("arguments", {}) for step in why if _step(step) == "train"]
        for step, content in read.items():
            inputs = {"tune": "tuning", "validate": "validated"}.get(_step(step), "")
            if inputs and any(given.get(inputs) == content.get("output") for given in trained):
                why.setdefault(step, "a kept model was made by it")
        for step in why:
            for digest in _DIGEST.findall(step.path.read_bytes()):
                self.claims.setdefault(digest.decode(), "a step's record that is kept names it")
        return {str(step.path): told for step, told in why.items()}

    def _why(
        self, step: Holding, content: Mapping[str, Any], all_of_them: Iterable[Holding], retention: Retention
    ) -> str | None:
        if retention.is_young(step.written):
            return "written within the days"
        if step.written == max(each.written for each in all_of_them if _step(each) == _step(step)):
            return "the last of its step"
        output, arguments = content.get("output"), content.get("arguments", {})
        match _step(step):
            case "train":
                names = [output.get("digest")] if isinstance(output, dict) else []
            case "run":
                return "a kept release was made by it" if output in self.undertakings else None
            case name if name in _OF_A_CANDIDATE:
                names = [(arguments.get("candidate") or {}).get("digest")]
            case _:
                names = []
        return "a kept model was made or judged by it" if set(names) & self.claims.keys() else None


def why_report(path: Path, claims: Claims) -> str | None:
    """Return why a report is kept: it is named, or is about what is; None when neither."""
    content = path.read_bytes()
    if path.stem in claims or (digest := hashlib.sha256(content).hexdigest()) in claims:
        return claims.get(path.stem) or claims[digest]
    named = (digest.decode() for digest in _DIGEST.findall(content))
    about = next((digest for digest in named if digest in claims), None)
    return f"about {about[:12]}, which is kept" if about else None


def _step(holding: Holding) -> str:
    return holding.path.parent.name
