"""An evaluation and a verdict as people read them in Prefect and MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hedonic.promotion.evaluation import Evaluation
from hedonic.promotion.verdict import Verdict


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


def ratio_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the appraisal ratio study as rows: of all sales, then of each slice that has enough of them."""
    parts = [("all", "", evaluation.ratio_study)]
    parts += [(part.slice, part.label, part.ratio_study) for part in evaluation.slices if part.ratio_study]
    return [
        {
            "slice": name,
            "label": label,
            "sales": study.n_rows,
            "median ratio": study.median_ratio,
            "COD": study.cod,
            "PRD": study.prd,
            "PRB": study.prb,
            "outside": ", ".join(f.statistic for f in study.findings if f.outcome == "issue"),
        }
        for name, label, study in parts
    ]


def verdict_markdown(verdict: Verdict) -> str:
    """Return the verdict with every reason for it; what speaks against the candidate comes first."""
    reasons = sorted(verdict.reasons, key=lambda finding: finding.outcome != "issue")
    lines = [
        f"**{verdict.summary}**",
        "",
        "| outcome | check | reason | value | limit |",
        "|---|---|---|---:|---:|",
        *[
            f"| {f.outcome} | `{f.check}` | {f.sentence.replace('|', chr(92) + '|')} "
            f"| {_number(f.value)} | {_number(f.limit)} |"
            for f in reasons
        ],
    ]
    return "\n".join(lines) + "\n"


def release_markdown(facts: Mapping[str, str], links: Mapping[str, str], evaluation: Evaluation) -> str:
    """Return the card of a release: what it is, where each tool shows it, and its figures.

    Args:
        facts: names and digests.
        links: addresses, by what is there.
        evaluation: of the judged model.
    """
    lines = ["| | |", "|---|---|", *[f"| {name} | `{value}` |" for name, value in facts.items()], ""]
    lines += [f"- [{what}]({address})" for what, address in links.items()]
    return "\n".join(lines) + f"\n\n{figures_markdown(evaluation)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
