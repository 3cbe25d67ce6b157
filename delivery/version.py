"""The version under which a release is shipped: the how many-th champion of its data set it is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from contextlib import closing

from hedonic.errors import HedonicError, UserError
from hedonic.promotion.history import is_begun, open_history
from hedonic.promotion.record import Record
from hedonic.settings import Settings, load_settings


def main() -> int:
    """Write ``version=N``; return 0, or the error's code after saying why there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("release", help="its digest")
    asked = parser.parse_args()
    try:
        version = find_version(load_settings(), asked.dataset, asked.release)
    except HedonicError as err:
        sys.stderr.write(f"version: {err}\n")
        return err.exit_code
    sys.stdout.write(f"version={version}\n")
    return 0


def find_version(settings: Settings, dataset: str, release: str) -> int:
    """Return the version of a release by the history, which every runner shares.

    MLflow's own number will not do: its store is new on each runner, and counts from 1 again.

    Raises:
        UserError: it was never champion.
    """
    records: tuple[Record, ...] = ()
    if is_begun(settings):
        with closing(open_history(settings)) as history:
            records = history.records(dataset)
    version = version_of(records, release)
    if version is None:
        raise UserError(
            f"{dataset}: {release[:12]} was never champion by the history at hand, so it has no version. "
            "Is HEDONIC_HISTORY_URL that of the run that promoted it?"
        )
    return version


def version_of(records: Iterable[Record], release: str) -> int | None:
    """Return which of a data set's champions a release is, from 1, in the order of their first crowning.

    The history is only appended to, so a version stays what it is and a later champion has a higher one.
    """
    crowned = dict.fromkeys(record.release for record in records if record.crowns)
    return next((number for number, one in enumerate(crowned, 1) if one == release), None)


if __name__ == "__main__":
    sys.exit(main())
