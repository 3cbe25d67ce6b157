"""The model card: what a reader of a model version looks for first, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hedonic.promotion.evaluation import Evaluation

_DESCRIBED = (
    "rmse", "mae", "r2", "mape_pct", "wmape_pct", "mdape_pct", "within_10_pct", "within_20_pct", "log_rmse",
    "coverage_80_pct", "coverage_90_pct", "median_width_90_pct",
)  # fmt: skip


def describe(
    evaluation: Evaluation,
    *,
    verdict: str,
    reasons: Sequence[str],
    family: str,
    study: str,
    trial: int,
    links: Mapping[str, str],
) -> str:
    """Return the Markdown description of a version: verdict, figures, study and links."""
    figures = evaluation.figures
    rows = [(name, figures.get(name)) for name in _DESCRIBED]
    cells = [
        f"| `{name}` | {f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'} |"
        for name, value in rows
        if value is not None
    ]
    beside = [
        f"| {name} | {metrics.log_rmse:.4f} | {metrics.mdape_pct:.2f} |"
        for name, metrics in (("**this model**", evaluation.overall), *evaluation.baselines.items())
    ]
    findings = [f"- {f.outcome}: `{f.statistic}` {f.sentence}" for f in evaluation.ratio_study.findings]
    linked = [f"- [{name}]({url})" if "://" in url else f"- {name}: `{url}`" for name, url in links.items()]
    parts = [
        f"**{verdict}**: a {family} model of `{evaluation.dataset}`, judged on {evaluation.n_rows:,} "
        f"holdout rows, in {evaluation.unit}.",
        "\n".join(f"- {reason}" for reason in reasons),
        "\n".join(["| figure | holdout |", "|---|---|", *cells]),
        "\n".join(["| beside | log_rmse | mdape_pct |", "|---|---|---|", *beside]),
        "\n".join(["Appraisal ratio study:", "", *findings]),
        f"Study `{study}`, trial {trial}. Evaluation `{evaluation.sha256[:16]}`.",
        "\n".join(linked),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
