"""What a process serves now: a release that was verified before it answered anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hedonic.serving.predictor import Release
from hedonic.serving.source import Source


@dataclass(frozen=True, slots=True)
class Served:
    """A loaded and verified release, and where it came from."""

    release: Release
    source: Source


class Rollout:
    """The release of a process."""

    def __init__(self, load: Callable[[Source], Release], first: Source) -> None:
        """Load ``first``.

        Args:
            load: gives the verified release of a source, or refuses it.
            first: where the release is that is served from the start.

        Raises:
            ReleaseRefused: it is not what it should be.
        """
        self._load = load
        self.served = Served(load(first), first)
