"""Data Docs that need no other host: local pages and an index of every run."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

# Great Expectations' pages load styles, images and scripts from other hosts, and their own scripts
# need those; a page of ours loads nothing, so scripts go altogether and a short style takes over.
_OUTSIDE = re.compile(
    r"<script\b.*?</script>"
    r"|<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|<(?:img|source)\b[^>]*\bsrc(?:set)?=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b[^>]*\brel=[\"']?(?:shortcut )?icon\b[^>]*>"  # its path is wrong, too
    r"|\burl\(\s*[\"']?(?:https?:)?//[^)]*\)"
    r"|\son[a-z]+=\"[^\"]*\"",  # calls a script that is gone
    re.IGNORECASE | re.DOTALL,
)
_STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;margin:1rem 2rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0}
td,th{border:1px solid #ddd;padding:.25rem .5rem;text-align:left}
.modal,.navbar-toggler,#ge-cta-footer,footer,.sticky-top button,.sticky>.card:first-child{display:none}
.alert,.badge{padding:.1rem .4rem}.text-success{color:#197a3b}.text-danger{color:#b3261e}
ul{list-style:none;padding-left:1rem}
@media(prefers-color-scheme:dark){body{background:#191919;color:#ddd}td,th{border-color:#444}a{color:#8ab4f8}}
</style>"""
_BODY = re.compile(r"<body[^>]*>")
_TITLE = re.compile(r"<title>[^<]*</title>")
_OUTCOME = re.compile(r"<title>(.*?): (passed|refused)</title>")


def make_local(page: Path, title: str) -> None:
    """Rewrite a page so that opening it asks no other host for anything; ``title`` names it."""
    text = _OUTSIDE.sub("", page.read_text(encoding="utf-8"))
    text = _TITLE.sub("", text).replace("<head>", f"<head><title>{html.escape(title)}</title>{_STYLE}", 1)
    # Great Expectations says Failed when any expectation fails, warnings included: ours is the outcome.
    heading = f"<h1>{html.escape(title)}</h1>"
    _replace(page, _BODY.sub(lambda body: body.group() + heading, text, count=1))


def write_index(folder: Path) -> None:
    """Write the list of every run kept in ``folder``, the latest first."""
    rows = []
    for page in sorted(folder.glob("validations/*/*/*/*.html"), key=lambda p: p.parent.name, reverse=True):
        with page.open(encoding="utf-8") as handle:
            outcome = _OUTCOME.search(handle.read(1000))
        dataset, run_name, time = page.relative_to(folder / "validations").parts[:3]
        link = page.relative_to(folder).as_posix()
        said = outcome.group(2) if outcome else "unknown"
        cells = [html.escape(cell) for cell in (dataset, run_name, time, said)]
        cells[1] = f'<a href="{html.escape(link)}">{cells[1]}</a>'
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    _replace(
        folder / "index.html",
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>'
        f"{_STYLE}</head><body><h1>Data Docs</h1><table><thead><tr><th>Data set</th><th>Run</th>"
        f"<th>Time</th><th>Outcome</th></tr></thead><tbody>{''.join(rows)}</tbody></table></body></html>\n",
    )


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
