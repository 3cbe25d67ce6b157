"""LightGBM's text, checked before its C library reads it.

The library trusts what it reads: a damaged tree ends the process, one whose nodes are shared holds it for
ever, and an objective of many outputs writes beyond the answer. So the text has to be exactly what
LightGBM writes: every line of a known name, once, in plain characters, and what it points to in range.
"""

from __future__ import annotations

import re

from hedonic.errors import HedonicError

END = "end of trees\n"
MAX_DEPTH = 1000

_PLAIN = re.compile(r"[\n -~]*")
_INTEGER = re.compile(r"0|[1-9]\d{0,8}")
_NUMBERS = re.compile(r"(?:-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf|nan)(?: |$))*")
_HEAD = frozenset(
    {"version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
     "average_output", "feature_names", "monotone_constraints", "feature_infos", "tree_sizes"}
)  # fmt: skip
_OBJECTIVE = re.compile(
    r"(?:regression|regression_l1|huber|fair|poisson|quantile|mape|gamma|tweedie)(?: [a-z_]+(?::[\d.e+-]+)?)*"
)
"""Those of one output a row; the library writes as many as the objective has, wherever that ends."""
_COUNTS = ("num_leaves", "num_cat")
_A_NODE = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
           "internal_value", "internal_weight", "internal_count")  # fmt: skip
_A_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
_CATEGORIES = ("cat_boundaries", "cat_threshold")
_ONE = ("is_linear", "shrinkage")
_TREE = frozenset({*_COUNTS, *_A_NODE, *_A_LEAF, *_CATEGORIES, *_ONE})
_INTEGERS = {"split_feature", "decision_type", "left_child", "right_child", "leaf_count", "internal_count",
             *_CATEGORIES}  # fmt: skip


def checked_booster_text(text: str) -> str:
    """Return the part of LightGBM's text that says what the model answers: from its start to its last tree.

    A damaged digit inside a number cannot be seen here: that is what a release's digests are for.

    Raises:
        HedonicError: it is not a whole model of one output; the message names the part that is damaged.
    """
    model, ended, _ = text.partition(f"\n{END}")
    head, found, _trees = model.partition("\nTree=0\n")
    if not head.startswith("tree\n") or not found or not ended:
        raise HedonicError(
            f"LightGBM text: {len(text)} characters from {text[:20]!r} are not a whole model "
            "('tree' to 'end of trees'). Fetch the release again."
        )
    try:
        if not _PLAIN.fullmatch(model):
            raise ValueError("a character that is not plain text")
        facts = _fields(head.removeprefix("tree\n").rstrip("\n"), _HEAD)
        if _integer(facts["num_class"]) != 1 or _integer(facts["num_tree_per_iteration"]) != 1:
            raise ValueError("more than one output a row")
        if "objective" in facts and not _OBJECTIVE.fullmatch(facts["objective"]):
            raise ValueError(f"objective {facts['objective'][:40]!r} is not of one number a row")
        n_features, start = _integer(facts["max_feature_idx"]) + 1, len(head) + 1
        for tree, size in enumerate(map(_integer, facts["tree_sizes"].split(" "))):
            block, start = model[start : start + size], start + size
            _check_tree(block, tree, n_features)
        if rest := (model + "\n")[start:].strip("\n"):
            raise ValueError(f"{rest[:20]!r} instead of 'end of trees'")
    except (KeyError, ValueError) as err:
        raise HedonicError(f"LightGBM text: damaged: {err}. Fetch the release again.") from err
    return f"{model}\n{END}"


def _fields(lines: str, known: frozenset[str]) -> dict[str, str]:
    """Return the values of lines ``name=value`` by name, each name known and there once."""
    pairs = [line.partition("=") for line in lines.split("\n")]
    fields = {name: value for name, _, value in pairs}
    if unknown := [name for name in fields if name not in known]:
        raise ValueError(f"{unknown[0][:40]!r} is not a line of a model")
    if len(fields) != len(pairs):
        raise ValueError("a line is there twice")
    return fields


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is not a count")
    return int(text)


def _check_tree(block: str, tree: int, n_features: int) -> None:
    """Refuse a tree whose arrays are not of one length, point outside it, or do not make a tree."""
    first, _, rest = block.partition("\n")
    if first != f"Tree={tree}":
        raise ValueError(f"{first[:20]!r} instead of 'Tree={tree}'")
    try:
        fields = _fields(rest.rstrip("\n"), _TREE)
        n_leaves, n_categorical = (_integer(fields[name]) for name in _COUNTS)
        if n_leaves < 1 or fields["is_linear"] != "0":
            raise ValueError(f"{n_leaves} leaves, is_linear={fields['is_linear']}")
        _check_numbers(fields, n_leaves)
        if not all(0 <= feature < n_features for feature in map(int, fields["split_feature"].split())):
            raise ValueError(f"split_feature outside 0..{n_features - 1}")
        _check_shape(fields, n_leaves)
        _check_categories(fields, n_categorical)
    except KeyError as err:
        raise ValueError(f"tree {tree}: {err.args[0]} is missing") from err
    except ValueError as err:
        raise ValueError(f"tree {tree}: {err}") from err


def _check_numbers(fields: dict[str, str], n_leaves: int) -> None:
    n_nodes = n_leaves - 1
    lengths = dict.fromkeys(_A_NODE, n_nodes) | dict.fromkeys(_A_LEAF, n_leaves) | {"shrinkage": 1}
    lengths["leaf_weight"] = n_leaves if n_nodes else 0
    for name, count in lengths.items():
        if len(fields[name].split(" ") if fields[name] else ()) != count:
            raise ValueError(f"{name} is not {count} numbers")
    if wrong := [name for name, value in fields.items() if not _NUMBERS.fullmatch(value)]:
        raise ValueError(f"{', '.join(wrong)[:40]!r} is not numbers")
    for name in _INTEGERS & fields.keys():
        if any(abs(int(number)) >= 2**32 for number in fields[name].split()):
            raise ValueError(f"{name} does not fit its type")


def _check_shape(fields: dict[str, str], n_leaves: int) -> None:
    """Refuse nodes that do not make one tree: each child later than its parent, and of one parent."""
    left, right = (list(map(int, fields[side].split())) for side in ("left_child", "right_child"))
    n_nodes, depths = n_leaves - 1, [0] * max(n_leaves - 1, 1)
    for node, children in enumerate(zip(left, right, strict=True)):
        for side, child in zip(("left_child", "right_child"), children, strict=True):
            if not (node < child < n_nodes or -n_leaves <= child < 0):
                raise ValueError(f"{side} of node {node} is {child}")
            if child > 0:
                depths[child] = depths[node] + 1
    if n_nodes and len({*left, *right}) != 2 * n_nodes:
        raise ValueError("left_child and right_child share a node or a leaf")
    if max(depths) >= MAX_DEPTH:
        raise ValueError(f"deeper than {MAX_DEPTH} splits")


def _check_categories(fields: dict[str, str], n_categorical: int) -> None:
    bounds = [int(bound) for bound in fields.get("cat_boundaries", "0").split()]
    n_words = len(fields.get("cat_threshold", "").split())
    if (
        len(bounds) != n_categorical + 1
        or bounds[0] != 0
        or bounds != sorted(bounds)
        or bounds[-1] != n_words
    ):
        raise ValueError("cat_boundaries do not fit cat_threshold")
    for kind, threshold in zip(fields["decision_type"].split(), fields["threshold"].split(), strict=True):
        if int(kind) & 1 and not 0 <= float(threshold) < n_categorical:
            raise ValueError("a categorical split without its categories")
