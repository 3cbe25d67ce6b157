"""LightGBM's text, checked before its C library reads it: a damaged tree would end the process there."""

from __future__ import annotations

import re

from hedonic.errors import HedonicError

_NUMBERS = re.compile(r"(?:-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf|nan)(?: |$))*")
_A_NODE = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
           "internal_value", "internal_weight", "internal_count")  # fmt: skip
_INTEGERS = {"split_feature", "decision_type", "left_child", "right_child", "leaf_count", "internal_count",
             "cat_boundaries", "cat_threshold"}  # fmt: skip
_A_LEAF = ("leaf_value", "leaf_count")


def check_booster_text(text: str) -> None:
    """Refuse text that is not a whole LightGBM model of one output.

    A damaged digit inside a number cannot be seen here: that is what a release's digests are for.

    Raises:
        HedonicError: the message names the part that is damaged.
    """
    head, found, body = text.partition("\nTree=0\n")
    if not head.startswith("tree\n") or not found or "\nend of trees\n" not in body:
        raise HedonicError(
            f"LightGBM text: {len(text)} characters from {text[:20]!r} are not a whole model "
            "('tree' to 'end of trees'). Fetch the release again."
        )
    facts = dict(line.partition("=")[::2] for line in head.split("\n"))
    try:
        if int(facts["num_class"]) != 1 or int(facts["num_tree_per_iteration"]) != 1:
            raise ValueError("more than one output a row")
        n_features, start = int(facts["max_feature_idx"]) + 1, len(head) + 1
        for tree, size in enumerate(map(int, facts["tree_sizes"].split())):
            block, start = text[start : start + size], start + size
            _check_tree(block, tree, n_features)
        if not text[start:].lstrip("\n").startswith("end of trees\n"):
            raise ValueError(f"{text[start : start + 20]!r} instead of 'end of trees'")
    except (KeyError, ValueError) as err:
        raise HedonicError(f"LightGBM text: damaged: {err}. Fetch the release again.") from err


def _check_tree(block: str, tree: int, n_features: int) -> None:
    """Refuse a tree whose arrays are not of one length or point outside it."""
    first, _, rest = block.partition("\n")
    if first != f"Tree={tree}":
        raise ValueError(f"{first!r} instead of 'Tree={tree}'")
    fields = dict(line.partition("=")[::2] for line in rest.split("\n") if line)
    n_leaves, n_categorical = int(fields["num_leaves"]), int(fields["num_cat"])
    if n_leaves < 1 or n_categorical < 0 or fields.get("is_linear") != "0":
        raise ValueError(f"tree {tree}: {n_leaves} leaves, is_linear={fields.get('is_linear')}")
    n_nodes = n_leaves - 1
    lengths = dict.fromkeys(_A_NODE, n_nodes) | dict.fromkeys(_A_LEAF, n_leaves)
    lengths["leaf_weight"] = n_leaves if n_nodes else 0
    for name, count in lengths.items():
        if len(fields[name].split(" ") if fields[name] else ()) != count:
            raise ValueError(f"tree {tree}: {name} is not {count} numbers")
    if wrong := [name for name, value in fields.items() if not _NUMBERS.fullmatch(value)]:
        raise ValueError(f"tree {tree}: {', '.join(wrong)[:40]!r} is not numbers")
    if not all(0 <= feature < n_features for feature in map(int, fields["split_feature"].split())):
        raise ValueError(f"tree {tree}: split_feature outside 0..{n_features - 1}")
    for side in ("left_child", "right_child"):
        for node, child in enumerate(map(int, fields[side].split())):
            if not (node < child < n_nodes or -n_leaves <= child < 0):
                raise ValueError(f"tree {tree}: {side} of node {node} is {child}")
    for name in _INTEGERS & fields.keys():
        if any(abs(int(number)) >= 2**32 for number in fields[name].split()):
            raise ValueError(f"tree {tree}: {name} does not fit its type")
    _check_categories(fields, tree, n_categorical)


def _check_categories(fields: dict[str, str], tree: int, n_categorical: int) -> None:
    bounds = [int(bound) for bound in fields.get("cat_boundaries", "0").split()]
    n_words = len(fields.get("cat_threshold", "").split())
    if (
        len(bounds) != n_categorical + 1
        or bounds[0] != 0
        or bounds != sorted(bounds)
        or bounds[-1] != n_words
    ):
        raise ValueError(f"tree {tree}: cat_boundaries do not fit cat_threshold")
    for kind, threshold in zip(fields["decision_type"].split(), fields["threshold"].split(), strict=True):
        if int(kind) & 1 and not 0 <= float(threshold) < n_categorical:
            raise ValueError(f"tree {tree}: a categorical split without its categories")
