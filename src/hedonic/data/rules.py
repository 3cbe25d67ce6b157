"""Row rules: one-line conditions on a row, in a small whitelisted grammar, evaluated on numpy."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Columns = Mapping[str, npt.NDArray[np.generic]]

_COMPARISONS: dict[type[ast.cmpop], np.ufunc] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
_ARITHMETIC: dict[type[ast.operator], np.ufunc] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}


@dataclass(frozen=True, slots=True)
class RowRule:
    """A condition that every row must meet, such as ``floors == 0 or area / floors >= 5``.

    The grammar: column names, numbers, ``+ - * /``, comparisons (chained too), ``and``, ``or``,
    ``not`` and parentheses. A comparison with a missing value holds: missing values are the
    business of nullability, not of rules.
    """

    text: str
    tree: ast.expr
    columns: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> RowRule:
        """Return the rule that ``text`` states.

        Raises:
            ValueError: ``text`` is not in the grammar; the message names the part that is not.
        """
        try:
            tree = ast.parse(text, mode="eval").body
        except SyntaxError as err:
            raise ValueError(f"rule {text!r}: {err.msg} at character {err.offset}") from err
        names: set[str] = set()
        _check(tree, text, names, condition=True)
        return cls(text=text, tree=tree, columns=frozenset(names))

    def holds(self, columns: Columns) -> npt.NDArray[np.bool_]:
        """Return, for each row, whether the rule holds; shape (n_rows,)."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return _condition(self.tree, columns)


def _check(node: ast.expr, text: str, names: set[str], *, condition: bool) -> None:
    """Collect the names in ``node``, which must be a condition or a number as asked."""
    match node:
        case ast.BoolOp(values=values) if condition:
            for value in values:
                _check(value, text, names, condition=True)
        case ast.UnaryOp(op=ast.Not(), operand=operand) if condition:
            _check(operand, text, names, condition=True)
        case ast.Compare(left=left, ops=ops, comparators=comparators) if condition and all(
            type(op) in _COMPARISONS for op in ops
        ):
            for operand in (left, *comparators):
                _check(operand, text, names, condition=False)
        case ast.BinOp(left=left, op=op, right=right) if not condition and type(op) in _ARITHMETIC:
            _check(left, text, names, condition=False)
            _check(right, text, names, condition=False)
        case ast.UnaryOp(op=ast.USub(), operand=operand) if not condition:
            _check(operand, text, names, condition=False)
        case ast.Name(id=name) if not condition:
            names.add(name)
        case ast.Constant(value=bool()):
            raise ValueError(f"rule {text!r}: write 1 or 0 for true or false")
        case ast.Constant(value=int() | float()) if not condition:
            pass
        case _:
            wanted = "a condition" if condition else "a number"
            raise ValueError(
                f"rule {text!r}: {ast.unparse(node)!r} is not {wanted}; a rule may use column "
                "names, numbers, + - * /, comparisons, and, or, not and parentheses"
            )


def _condition(node: ast.expr, columns: Columns, *, negated: bool = False) -> npt.NDArray[np.bool_]:
    """Return where the condition, or its negation, holds.

    A ``not`` is pushed down to the comparisons, so that a missing value lets a row pass under it too.
    """
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_condition(value, columns, negated=negated) for value in values]
            every = isinstance(op, ast.And) != negated
            return _join(parts, every=every)
        case ast.UnaryOp(operand=operand):
            return _condition(operand, columns, negated=not negated)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            operands = [_number(side, columns) for side in (left, *comparators)]
            parts = [
                (_COMPARISONS[type(op)](a, b) != negated) | np.isnan(a) | np.isnan(b)
                for op, a, b in zip(ops, operands, operands[1:], strict=False)
            ]
            return _join(parts, every=not negated)
        case _:
            raise AssertionError(f"unchecked rule node {ast.dump(node)}")


def _join(parts: list[npt.NDArray[np.bool_]], *, every: bool) -> npt.NDArray[np.bool_]:
    return np.asarray(np.all(parts, axis=0) if every else np.any(parts, axis=0), dtype=np.bool_)


def _number(node: ast.expr, columns: Columns) -> npt.NDArray[np.float64]:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _number(left, columns), _number(right, columns)
            return np.asarray(_ARITHMETIC[type(op)](a, b), dtype=np.float64)
        case ast.UnaryOp(operand=operand):
            return -_number(operand, columns)
        case ast.Name(id=name):
            return np.asarray(columns[name], dtype=np.float64)
        case ast.Constant(value=value):
            return np.asarray(value, dtype=np.float64)
        case _:
            raise AssertionError(f"unchecked rule node {ast.dump(node)}")
