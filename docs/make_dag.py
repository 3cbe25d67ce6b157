"""Draw the training flow as docs/images/dag.svg: ``python docs/make_dag.py``."""

from __future__ import annotations

from pathlib import Path

STEPS = [
    ("ingest", "fsspec, Parquet", "snapshot"),
    ("validate", "Great Expectations", "validated"),
    ("tune", "Optuna", "recipe"),
    ("train", "scikit-learn, LightGBM", "candidate"),
    ("evaluate", "assesspy, MAPIE", "report"),
    ("decide", "the gate", "verdict"),
    ("release", "no pickle", "release"),
    ("register", "MLflow", "version"),
    ("build bento", "BentoML", "bento"),
    ("promote", "the history", "champion"),
    ("roll out", "circus", "endpoint"),
    ("verify", "golden rows", "a price"),
]
WIDE, TALL, GAP, COLUMNS = 150, 64, 34, 6
INK, PAPER, ACCENT, QUIET = "#1f2933", "#f5f7fa", "#2563a8", "#52606d"


def box(n: int) -> tuple[int, int]:
    """Return the upper left corner of a step; the second row runs back from right to left."""
    row, column = divmod(n, COLUMNS)
    if row % 2:
        column = COLUMNS - 1 - column
    return 20 + column * (WIDE + GAP), 60 + row * (TALL + 86)


def draw() -> str:
    """Return the drawing as SVG."""
    width = 40 + COLUMNS * WIDE + (COLUMNS - 1) * GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 330" font-family="sans-serif">',
        '<defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>',
        f'<rect width="{width}" height="330" fill="white"/>',
        f'<text x="20" y="32" font-size="18" fill="{INK}">The Prefect flow <tspan font-weight="bold">train'
        "</tspan>: from a table of sales to a price over HTTP</text>",
    ]
    for n, (name, tool, made) in enumerate(STEPS):
        x, y = box(n)
        gate = name == "decide"
        parts += [
            f'<rect x="{x}" y="{y}" width="{WIDE}" height="{TALL}" rx="8" '
            f'fill="{"#fdf3d8" if gate else PAPER}" '
            f'stroke="{ACCENT}" stroke-width="{2.5 if gate else 1.5}"/>',
            f'<text x="{x + WIDE / 2}" y="{y + 27}" font-size="16" font-weight="bold" text-anchor="middle" '
            f'fill="{INK}">{name}</text>',
            f'<text x="{x + WIDE / 2}" y="{y + 48}" font-size="12" text-anchor="middle" '
            f'fill="{QUIET}">{tool}</text>',
            f'<text x="{x + WIDE / 2}" y="{y + TALL + 18}" font-size="12" text-anchor="middle" '
            f'fill="{ACCENT}">{made}</text>',
        ]
        if n + 1 < len(STEPS):
            parts.append(arrow(n))
    x, y = box(5)
    parts.append(
        f'<text x="{x + WIDE / 2}" y="{y - 10}" font-size="12" text-anchor="middle" fill="{QUIET}">'
        "not better: the champion stays</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def arrow(n: int) -> str:
    """Return the arrow from a step to the next."""
    (x, y), (to_x, to_y) = box(n), box(n + 1)
    if y != to_y:
        start, end = (x + WIDE / 2, y + TALL + 26), (to_x + WIDE / 2, to_y - 4)
    elif to_x > x:
        start, end = (x + WIDE + 2, y + TALL / 2), (to_x - 3, y + TALL / 2)
    else:
        start, end = (x - 2, y + TALL / 2), (to_x + WIDE + 3, y + TALL / 2)
    return (
        f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="{INK}" '
        'stroke-width="1.5" marker-end="url(#a)"/>'
    )


if __name__ == "__main__":
    Path(__file__).with_name("images").joinpath("dag.svg").write_text(draw(), encoding="utf-8")
