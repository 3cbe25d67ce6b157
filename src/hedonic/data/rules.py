"""Row rules: one-line conditions on a row, in a small whitelisted grammar, evaluated on numpy."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Columns = Mapping[str, npt.NDArray[np.generic]]
Values = Mapping[str, Any]
"""By column name, floats of one row or float64 arrays of many: an evaluation is the same for both."""

Evaluation = Callable[[Values], Any]


def _differs(a: Any, b: Any) -> Any:
    return (a < b) | (a > b)


def _divided(a: Any, b: Any) -> Any:
    """Return ``a / b`` as IEEE 754 has it, for floats as numpy does for arrays."""
    try:
        return a / b
    except ZeroDivisionError:
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


_BROKEN_BY: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: _differs,
    ast.NotEq: operator.eq,
    ast.Lt: operator.ge,
    ast.LtE: operator.gt,
    ast.Gt: operator.le,
    ast.GtE: operator.lt,
}
"""What breaks a comparison. A missing value, which compares with nothing, breaks none."""

_NEGATIONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divided,
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
    _evaluate: Evaluation = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the tree into functions that call each other."""
        object.__setattr__(self, "_evaluate", _condition(self.tree))

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
        try:
            return cls(text=text, tree=tree, columns=frozenset(names))
        except OverflowError as err:
            raise ValueError(f"rule {text!r}: a number in it is too large for a float") from err

    def holds(self, columns: Columns) -> npt.NDArray[np.bool_]:
        """Return, for each row, whether the rule holds; shape (n_rows,)."""
        numbers = {name: np.asarray(columns[name], dtype=np.float64) for name in self.columns}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(self._evaluate(numbers), dtype=np.bool_)

    def holds_for(self, row: Mapping[str, float]) -> bool:
        """Return whether the rule holds for one row of floats, NaN where missing: faster than ``holds``."""
        return bool(self._evaluate(row))


def _check(node: ast.expr, text: str, names: set[str], *, condition: bool) -> None:
    """Collect the names in ``node``, which must be a condition or a number as asked."""
    match node:
        case ast.BoolOp(values=values) if condition:
            for value in values:
                _check(value, text, names, condition=True)
        case ast.UnaryOp(op=ast.Not(), operand=operand) if condition:
            _check(operand, text, names, condition=True)
        case ast.Compare(left=left, ops=ops, comparators=comparators) if condition and all(
            type(op) in _BROKEN_BY for op in ops
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


def _condition(node: ast.expr, *, negated: bool = False) -> Evaluation:
    """Return the function that says where the condition, or its negation, holds.

    A ``not`` is pushed down to the comparisons, so that a missing value lets a row pass under it too.
    """
    match node:
        case ast.BoolOp(op=op, values=nodes):
            parts = [_condition(part, negated=negated) for part in nodes]
            return _joined(parts, every=isinstance(op, ast.And) != negated)
        case ast.UnaryOp(operand=operand):
            return _condition(operand, negated=not negated)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [_number(side) for side in (left, *comparators)]
            kinds = [_NEGATIONS[type(op)] if negated else type(op) for op in ops]
            parts = [_comparison(*part) for part in zip(kinds, sides, sides[1:], strict=False)]
            return _joined(parts, every=not negated)
        case _:
            raise AssertionError(f"unchecked rule node {ast.dump(node)}")


def _comparison(kind: type[ast.cmpop], left: Evaluation, right: Evaluation) -> Evaluation:
    broken = _BROKEN_BY[kind]
    return lambda values: broken(left(values), right(values)) ^ True


def _joined(parts: list[Evaluation], *, every: bool) -> Evaluation:
    join, first = operator.and_ if every else operator.or_, parts[0]
    for part in parts[1:]:
        first = _pair(join, first, part)
    return first


def _pair(join: Callable[[Any, Any], Any], left: Evaluation, right: Evaluation) -> Evaluation:
    return lambda values: join(left(values), right(values))


def _number(node: ast.expr) -> Evaluation:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            return _pair(_ARITHMETIC[type(op)], _number(left), _number(right))
        case ast.UnaryOp(operand=operand):
            positive = _number(operand)
            return lambda values: -positive(values)
        case ast.Name(id=name):
            return operator.itemgetter(name)
        case ast.Constant(value=int() | float() as value):
            constant = float(value)
            return lambda _values: constant
        case _:
            raise AssertionError(f"unchecked rule node {ast.dump(node)}")
