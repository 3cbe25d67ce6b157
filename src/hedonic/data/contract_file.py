"""The file of a contract: YAML, of which every problem is told with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hedonic.data.contract import Contract
from hedonic.data.contract_problems import level_problems
from hedonic.errors import ContractError

FORMAT_VERSION = 1


def load_contract(path: Path) -> Contract:
    """Return the contract in ``path`` (YAML).

    Raises:
        ContractError: it cannot be read; every problem is listed with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        there = sorted(p.stem for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise ContractError(
            f"{path}: no such contract. Known data sets: {', '.join(there) or 'none'}."
        ) from err
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise ContractError(f"{path}: not YAML: {err}") from err
    if not isinstance(content, dict):
        raise ContractError(f"{path}:1: a contract is a mapping of keys; got {type(content).__name__}")
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ContractError(
            f"{path}: format_version {version} is newer than {FORMAT_VERSION}, which this "
            "Hedonic reads. Upgrade Hedonic."
        )
    try:
        contract = Contract.model_validate(content)
    except ValidationError as err:
        problems = [f"{path}:{_line(root, e['loc'])}: {_where(e['loc'])}{_fix(e)}" for e in err.errors()]
        raise ContractError("\n".join(problems)) from err
    if unkept := level_problems(contract.gate):
        raise ContractError(f"{path}:{_line(root, ('gate',))}: gate: {'; '.join(unkept)}")
    if contract.name != path.stem:
        raise ContractError(
            f"{path}:{_line(root, ('name',))}: name is {contract.name!r} but the file is "
            f"{path.name!r}: make them the same"
        )
    return contract


def _line(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    """Return the line (from 1) of the deepest part of ``loc`` that the file has."""
    line = 1
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if found is None:
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _where(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in loc) + ": " if loc else ""


def _fix(error: Any) -> str:
    match error["type"]:
        case "missing":
            return "missing; add this key"
        case "extra_forbidden":
            return "unknown key; remove it or correct its spelling"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return f"{error['msg']} (got {error['input']!r})"
