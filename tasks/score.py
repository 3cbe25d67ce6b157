"""Score: the rows of a table, answered by the champion."""

from __future__ import annotations

from prefect import task

from hedonic.data.source import resolve
from hedonic.scoring.table_scoring import Scoring
from hedonic.settings import load_settings
from tasks.run_page import Progress, logger, show_table, tag_run


@task(name="score")
def score_table(dataset: str, source: str, target: str, *, keep_refused: bool) -> Scoring:
    """Return what became of a table; never cached, for the champion and the table may have changed."""
    from hedonic.scoring.table_scoring import score_table as score
    from hedonic.serving.loading import load_source
    from hedonic.serving.source import champion_source

    settings, log = load_settings(), logger()
    tag_run(dataset, "score")
    release = load_source(champion_source(settings.home, dataset))
    log.info("%s: release %s", dataset, release.model.release[:12])
    progress = Progress("score", dataset, "Rows scored")

    def tell(n_rows: int, of: int | None) -> None:
        log.info("%s rows", f"{n_rows:,}")
        if of is not None:
            progress.reach(n_rows, of)

    scoring = score(
        release.predictor,
        release.model.release,
        resolve(source, settings.root),
        resolve(target, settings.root),
        keep_refused=keep_refused,
        on_rows=tell,
    )
    progress.reach(1, 1)
    show_table(
        "scoring",
        dataset,
        [{"figure": name, "value": value} for name, value in scoring.model_dump(mode="json").items()],
        f"{scoring.n_rows:,} rows scored by release {scoring.release[:12]}",
    )
    log.info("%s rows, %s without an estimate", f"{scoring.n_rows:,}", f"{scoring.n_refused:,}")
    return scoring
