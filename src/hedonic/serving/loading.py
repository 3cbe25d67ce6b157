"""Loading the release of a source: fetched where it is elsewhere, verified, its golden rows answered."""

from __future__ import annotations

from hedonic.errors import ReleaseRefused
from hedonic.serving.predictor import Release, load_release
from hedonic.serving.release_copy import discard, fetch
from hedonic.serving.source import Source


def load_source(source: Source) -> Release:
    """Return the verified release of ``source``.

    Raises:
        ReleaseRefused: it is not what it should be. A copy is removed then, to be fetched again next time.
        HedonicError: it could not be fetched.
    """
    if source.remote is not None:
        fetch(source.remote, source.release, source.folder)
    try:
        release = load_release(source.folder, source.release)
    except ReleaseRefused:
        if source.remote is not None:
            discard(source.folder)
        raise
    found = release.predictor.contract.name
    if source.dataset not in (None, found):
        raise ReleaseRefused(
            f"{source.uri}: release {source.release[:16]} is of {found}, not of {source.dataset}"
        )
    return release
