"""The aliases: MLflow's ``champion`` of each data set against the release that is champion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from hedonic.front_page.composition import Facts
from hedonic.monitoring.alerts import Alert

SETTLED: Final = timedelta(seconds=60)
"""Within so long a promotion has written its alias, and both were asked anew."""


def moved_aliases(facts: Facts) -> Iterator[Alert]:
    """Yield an alert for each alias that is on another version than the champion's; none is repaired here."""
    for dataset, tracked in facts.tracked.items():
        book = facts.books.get(dataset)
        if book is None or book.champion is None or tracked.version is None or book.release.version is None:
            continue
        since = facts.at - datetime.fromisoformat(book.champion.at)
        if tracked.version != book.release.version and since > SETTLED:
            yield Alert(
                kind="alias-moved",
                severity="warning",
                key=f"alias-moved:{dataset}",
                dataset=dataset,
                title=f"{dataset}: MLflow's alias champion was moved by hand",
                text=f"It is on version {tracked.version}, and the champion is version "
                f"{book.release.version}. What is served did not change; the next start of Hedonic puts it "
                f"back. To serve another release: hedonic rollback {dataset}",
            )
