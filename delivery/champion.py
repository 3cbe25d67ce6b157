"""The champion as delivery needs it: its bento's tag and context, and the folder of its release."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from hedonic.cli.status import read_champions
from hedonic.errors import HedonicError, UserError
from hedonic.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Champion:
    """What is champion of a data set.

    Attributes:
        bento: the tag of its bento, which is its image's name too.
        context: the bento's folder, from which its image is built.
        release: the folder of its release.
    """

    bento: str
    context: Path
    release: Path


def find_champion(settings: Settings, dataset: str) -> Champion:
    """Return the champion of a data set, as the history has it.

    Raises:
        UserError: there is none.
    """
    record = read_champions(settings, [dataset])[dataset]
    if record is None or record.release is None or record.bento is None:
        raise UserError(f"{dataset}: no champion yet, so there is nothing to deliver. hedonic run {dataset}")
    name, _, version = record.bento.partition(":")
    return Champion(
        bento=record.bento,
        context=settings.bentos / "bentos" / name / version,
        release=settings.releases / dataset / record.release,
    )


def main() -> int:
    """Write the champion's bento, context and release, ``name=value`` a line; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    try:
        found = find_champion(load_settings(), parser.parse_args().dataset)
    except HedonicError as err:
        sys.stderr.write(f"champion: {err}\n")
        return err.exit_code
    sys.stdout.write(f"bento={found.bento}\ncontext={found.context}\nrelease={found.release.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
