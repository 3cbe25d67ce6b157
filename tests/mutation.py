"""Mutants of decision code: each comparison and each constant changed, and whether a test notices.

``python -m tests.mutation MODULE... [--share N]`` prints, as JSON, what became of each mutant. A mutant is
one change: a comparison to its neighbour and to its opposite, a number to the next, a truth to its contrary,
a word (an outcome, a kind, the name of a check) to another, ``and`` to ``or``, ``not`` to nothing. What
people read is not mutated (docstrings, sentences, words inside f-strings), nor annotations and decorators.

Each mutant is tried in a fork of one process that has the vendors imported, by the unit tests of its module.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
UNIT = "tests/unit/promotion"
TESTS = {
    "gate": ["test_gate.py"],
    "paired": ["test_gate.py", "test_simplicity.py"],
    "own_limits": ["test_gate.py"],
    "slice_gate": ["test_slice_gate.py", "test_gate.py"],
    "behaviour": ["test_behaviour.py"],
}
LIMIT_S = 300

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module: an expression as it was and as it is, and the line that it stands in."""

    module: str
    line: int
    text: str
    before: str
    after: str

    @property
    def key(self) -> str:
        """Return the name under which a survivor is listed: it does not move with the lines above."""
        return f"{self.module}: {self.before} -> {self.after} in `{self.text}`"


def source_of(module: str) -> Path:
    """Return the file of a module of promotion."""
    return ROOT / "src" / "hedonic" / "promotion" / f"{module}.py"


def mutants_of(module: str) -> Iterator[tuple[Mutant, ast.Module]]:
    """Give each mutant of a module with its tree."""
    source = source_of(module).read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    sites = [node for node in _mutable(tree) if any(True for _ in _changes(node))]
    for number, site in enumerate(sites):
        for n, _ in enumerate(list(_changes(site))):
            changed = copy.deepcopy(tree)
            mutable = [node for node in _mutable(changed) if any(True for _ in _changes(node))][number]
            before = ast.unparse(mutable)
            list(_changes(mutable))[n]()
            text = lines[mutable.lineno - 1].strip()
            yield Mutant(module, mutable.lineno, text, before, ast.unparse(mutable)), changed


def _mutable(node: ast.AST) -> Iterator[ast.expr]:
    """Give the expressions that decide, in the order of the source."""
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            if name == "args" and isinstance(value, ast.arguments):
                yield from _defaults(value)
            continue
        for child in children:
            if isinstance(child, ast.JoinedStr):
                for part in child.values:
                    if isinstance(part, ast.FormattedValue):
                        yield from _with_itself(part.value)
            elif isinstance(child, ast.expr):
                yield from _with_itself(child)
            elif isinstance(child, ast.AST) and not _is_told(child):
                yield from _mutable(child)


def _defaults(arguments: ast.arguments) -> Iterator[ast.expr]:
    for default in (*arguments.defaults, *arguments.kw_defaults):
        if default is not None:
            yield from _with_itself(default)


def _with_itself(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.JoinedStr):
        yield from _mutable(ast.Expr(value=node))
        return
    yield node
    yield from _mutable(node)


def _is_told(node: ast.AST) -> bool:
    """Return whether a statement says something and decides nothing: a docstring, ``__all__``, an import."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__all__"
    ):
        return True
    return isinstance(node, ast.ImportFrom | ast.Import)


def _changes(node: ast.expr) -> Iterator[object]:
    """Give what can be done to an expression in place, as calls."""
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield lambda place=place, other=other: node.ops.__setitem__(place, other())
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield lambda: setattr(node, "op", other)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda: setattr(node, "op", ast.UAdd())
    elif isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            yield lambda: setattr(node, "value", not value)
        elif isinstance(value, int | float):
            yield lambda: setattr(node, "value", value + 1)
        elif isinstance(value, str) and (len(value.split()) == 1 or value == "not applicable"):
            yield lambda: setattr(node, "value", value + "x")


def _passes(module: str, tree: ast.Module | None) -> bool:
    """Return whether the unit tests of the module pass, with a mutant in its place where one is given."""
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        os._exit(_run(module, tree))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _run(module: str, tree: ast.Module | None) -> int:
    """Return pytest's exit code; a mutant that cannot be imported fails as a test does."""
    import pytest

    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    name = f"hedonic.promotion.{module}"
    try:
        if tree is not None:
            _install(name, source_of(module), ast.fix_missing_locations(tree))
        files = [f"{UNIT}/{file}" for file in TESTS[module]]
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files]))
    except BaseException:  # noqa: BLE001 (the edge of a process: whatever it is, the mutant did not pass)
        return 1


def _install(name: str, path: Path, tree: ast.Module) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    mutated = ModuleType(name)
    mutated.__spec__, mutated.__file__ = spec, str(path)
    sys.modules[name] = mutated
    exec(compile(tree, str(path), "exec"), mutated.__dict__)


def _warm() -> None:
    """Import what every mutant's tests import, but the rooms that are mutated."""
    for name in (
        "pytest",
        "hypothesis",
        "scipy.stats",
        "pandas",
        "hedonic.data.table",
        "hedonic.model.artifact",
    ):
        importlib.import_module(name)


def main() -> None:
    """Try the mutants and print what became of each; exit 1 if the tests fail without any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="+", choices=sorted(TESTS))
    parser.add_argument("--share", type=int, default=1, help="try one in so many mutants, evenly spread")
    parser.add_argument("--first", type=int, default=0, help="begin with this one")
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    _warm()
    tried = []
    for module in asked.modules:
        if not _passes(module, None):
            raise SystemExit(f"{module}: its unit tests fail without any mutant")
        for mutant, tree in list(mutants_of(module))[asked.first :: asked.share]:
            tried.append({**asdict(mutant), "key": mutant.key, "survived": _passes(module, tree)})
            if tried[-1]["survived"]:
                sys.stderr.write(f"{mutant.line}: {mutant.key}\n")
    sys.stdout.write(json.dumps(tried) + "\n")


if __name__ == "__main__":
    main()
