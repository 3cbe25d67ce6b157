"""An evaluation in Markdown, as people read it in Prefect and MLflow."""

from __future__ import annotations

from hedonic.promotion.evaluation import Evaluation


def figures_markdown(evaluation: Evaluation) -> str:
    """Return the candidate's figures beside the naive models', its intervals and its ratio study."""
    beside = {"**candidate**": evaluation.overall, **evaluation.baselines}
    lines = [
        "| model | log-RMSE | MdAPE % | within 10 % | within 20 % | R2 |",
        "|---|---|---|---|---|---|",
        *[
            f"| {name} | {m.log_rmse:.4f} | {m.mdape_pct:.2f} | {m.within_10_pct:.1f} "
            f"| {m.within_20_pct:.1f} | {m.r2:.3f} |"
            for name, m in beside.items()
        ],
        "",
        *[
            f"- {interval.level_pct} % intervals cover {interval.coverage_pct:.1f} %, "
            f"median width {interval.median_relative_width_pct:.1f} % of the estimate"
            for interval in evaluation.intervals
        ],
        *[f"- {f.outcome}: `{f.statistic}` {f.sentence}" for f in evaluation.ratio_study.findings],
    ]
    return "\n".join(lines) + "\n"
