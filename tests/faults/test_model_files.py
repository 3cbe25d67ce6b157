"""Model files with a fault in them: none is served, none ends or holds the process that looks at it."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hedonic.errors import ReleaseRefused
from hedonic.serving.predictor import load_release
from tests.broken_release import DAMAGES, FAULTS, copied, files_of, resealed, served_in_a_process
from tests.drills import DrillTable, count
from tests.endpoints import refused_to_start
from tests.house_release import house_release
from tests.tiny_release import tiny_release

pytestmark = [pytest.mark.fault, pytest.mark.drill]

N_DAMAGED = count(few=60, promised=1000)
N_STARTS = count(few=2, promised=20)
N_CONSISTENT = count(few=40, promised=500)
CPU_S, LIMIT_S = 10.0, 60.0


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_release(tmp_path_factory.mktemp("releases"))


@pytest.fixture(
    scope="module", params=[tiny_release, house_release], ids=["trees alone", "every kind of file"]
)
def any_release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny release, then one with every kind of file."""
    made: Path = request.param(tmp_path_factory.mktemp("releases"))
    return made


def damaged(folder: Path, rng: random.Random) -> str:
    """Return the name of the file that was damaged."""
    path = rng.choice(files_of(folder))
    content = path.read_bytes()
    changed = rng.choice(DAMAGES)(content, rng)
    assert changed != content
    path.write_bytes(changed)
    return path.relative_to(folder).as_posix()


def test_no_release_with_a_truncated_file_or_a_flipped_bit_is_served(
    any_release: Path, tmp_path: Path, drill_table: DrillTable
) -> None:
    hit: Counter[str] = Counter()
    for drill in range(N_DAMAGED):
        folder = copied(any_release, tmp_path / "copy")
        name = damaged(folder, random.Random(drill))
        with pytest.raises(ReleaseRefused) as refusal:
            load_release(folder)
        assert name in str(refusal.value)
        hit[name] += 1
    load_release(any_release)
    drill_table.add(
        "a release's file truncated or a bit flipped", N_DAMAGED, f"all refused by name, in {len(hit)} files"
    )


@pytest.mark.slow
def test_an_endpoint_asked_to_serve_a_damaged_release_ends_and_never_listens(
    release: Path, tmp_path: Path, drill_table: DrillTable
) -> None:
    for drill in range(N_STARTS):
        folder = copied(release, tmp_path / "releases" / release.parent.name)
        name = damaged(folder, random.Random(drill))
        ended = refused_to_start(tmp_path, folder)
        told = ended.stdout + ended.stderr
        assert ended.returncode == 1, told
        assert name in ended.stderr
        assert "Traceback" not in told
        assert "listening" not in told.lower()
    found = "exit code 1 with the file's name; the port was never opened"
    drill_table.add("`bentoml serve` on a damaged release", N_STARTS, found)


def test_a_damaged_release_whose_manifest_vouches_for_it_ends_and_holds_no_process(
    any_release: Path, tmp_path: Path, drill_table: DrillTable
) -> None:
    ended: Counter[str] = Counter()
    slowest = dearest = 0.0
    for drill in range(N_CONSISTENT):
        rng = random.Random(drill)
        folder = copied(any_release, tmp_path / "copy")
        path = rng.choice([path for path in files_of(folder) if path.name != "manifest.json"])
        path.write_bytes(rng.choice(FAULTS)(path.read_bytes(), rng))
        outcome = served_in_a_process(resealed(folder))
        assert outcome.ended in ("served", "refused"), (drill, path.name, outcome)
        ended[outcome.ended] += 1
        slowest, dearest = max(slowest, outcome.seconds), max(dearest, outcome.cpu_s)
    assert ended["refused"] > 0.2 * N_CONSISTENT
    assert (slowest < LIMIT_S, dearest < CPU_S) == (True, True), (slowest, dearest)
    drill_table.add(
        "a damaged file whose manifest vouches for it", N_CONSISTENT,
        f"{ended['refused']} refused, {ended['served']} answered their golden rows (the fault is where no "
        f"answer comes from), none crashed; slowest {slowest:.1f} s",
    )  # fmt: skip


# LightGBM's text, made to hurt its C library


def resized(text: str) -> str:
    """Return the text with the sizes that its trees have now."""
    head, _, body = text.partition("\nTree=0\n")
    trees, end, tail = f"Tree=0\n{body}".partition("end of trees\n")
    sizes = " ".join(str(len(f"Tree={tree}".encode())) for tree in trees.split("Tree=")[1:])
    lines = [f"tree_sizes={sizes}" if line.startswith("tree_sizes=") else line for line in head.split("\n")]
    return "\n".join(lines) + f"\n{trees}{end}{tail}"


def with_field(name: str, change: Callable[[str], str]) -> Callable[[str], str]:
    """Return what replaces a line of the first tree."""

    def changed(text: str) -> str:
        at = text.index(f"\n{name}=", text.index("\nTree=0\n")) + len(name) + 2
        end = text.index("\n", at)
        return resized(text[:at] + change(text[at:end]) + text[end:])

    return changed


def all_of(value: str) -> Callable[[str], str]:
    return lambda line: " ".join([value] * len(line.split()))


def in_the_head(old: str, new: str) -> Callable[[str], str]:
    def changed(text: str) -> str:
        assert text.count(old) == 1
        return text.replace(old, new)

    return changed


def one_tree(left: list[int], right: list[int]) -> Callable[[str], str]:
    """Return what replaces all trees by one of these children."""
    n_nodes, n_leaves = len(left), len(left) + 1

    def listed(values: list[int]) -> str:
        return " ".join(map(str, values))

    nodes, leaves = listed([0] * n_nodes), listed([1] * n_leaves)
    block = (
        f"Tree=0\nnum_leaves={n_leaves}\nnum_cat=0\nsplit_feature={nodes}\nsplit_gain={nodes}\nthreshold={nodes}\n"
        f"decision_type={listed([2] * n_nodes)}\nleft_child={listed(left)}\nright_child={listed(right)}\n"
        f"leaf_value={leaves}\nleaf_weight={leaves}\nleaf_count={leaves}\ninternal_value={nodes}\n"
        f"internal_weight={nodes}\ninternal_count={listed([2] * n_nodes)}\nis_linear=0\nshrinkage=1\n\n\n"
    )

    def changed(text: str) -> str:
        head, _, tail = text.partition("\nTree=0\n")[0], "", text.partition("end of trees\n")[2]
        return resized(f"{head}\n{block}end of trees\n{tail}")

    return changed


def chain(n_leaves: int) -> Callable[[str], str]:
    nodes = range(n_leaves - 1)
    down = [node + 1 if node + 1 < n_leaves - 1 else -n_leaves for node in nodes]
    return one_tree(down, [-node - 1 for node in nodes])


def doubling(n_leaves: int) -> Callable[[str], str]:
    """Return a tree both children of each node of which are the next: as many paths as two to its depth."""
    down = [*range(1, n_leaves - 1), -1]
    return one_tree(down, [*down[:-1], -2])


CRAFTED: dict[str, Callable[[str], str]] = {
    "both children are one node": doubling(64),
    "deeper than the stack": chain(200_000),
    "an objective of many outputs": in_the_head(
        "objective=regression", "objective=multiclass num_class:5000000"
    ),
    "another of many outputs": in_the_head(
        "objective=regression", "objective=multiclassova num_class:5000000 sigmoid:1"
    ),
    "a line hidden by a blank": in_the_head("\nnum_class=1\n", "\nnum_class=1\n num_class=99999999\n"),
    "a line hidden by a return": in_the_head("\nnum_class=1\n", "\nnum_class=1\rnum_class=99999999\n"),
    "a number that is read in two ways": in_the_head("max_feature_idx=7", "max_feature_idx=0_7"),
    "a number that wraps around": in_the_head("max_feature_idx=7", "max_feature_idx=4294967303"),
    "more features than memory": in_the_head("max_feature_idx=7", "max_feature_idx=2147483646"),
    "a digit of another script": in_the_head("label_index=0", "label_index=\u0663"),
    "an end inside": in_the_head("\nTree=3\n", "\nTree=3\n\0"),
    "a line without a value": with_field("shrinkage", lambda line: f"{line}\nnothing"),
    "the same line twice": with_field(
        "left_child", lambda line: f"{all_of('-99999999')(line)}\nleft_child={line}"
    ),
    "the good line after the end": with_field(
        "split_feature", lambda line: f"{all_of('99999999')(line)}\n\nsplit_feature={line}"
    ),
    "features beyond the row": with_field("split_feature", all_of("99999999")),
    "children before their parents": with_field("left_child", all_of("0")),
    "leaves beyond the last": with_field("right_child", all_of("-99999999")),
    "categories that are not there": with_field("decision_type", all_of("1")),
    "more leaves than are listed": with_field("num_leaves", lambda _: "999999999"),
    "fewer leaves than none": with_field("num_leaves", lambda _: "-1"),
    "no shrinkage": with_field("shrinkage", lambda _: ""),
    "linear leaves": with_field("is_linear", lambda _: "1"),
    "a tree that is a pickle": lambda text: text.replace("Tree=1\n", "\x80\x04\x95Tree=1\n"),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_trees_made_to_hurt_the_library_are_refused_before_it_reads_them(
    release: Path, tmp_path: Path, case: str
) -> None:
    folder = copied(release, tmp_path / "copy")
    path = folder / "model" / "point" / "trees.txt"
    path.write_bytes(CRAFTED[case](path.read_bytes().decode()).encode())
    outcome = served_in_a_process(resealed(folder))
    assert outcome.ended == "refused", outcome
    assert "LightGBM text" in outcome.told
    assert (outcome.seconds < LIMIT_S, outcome.cpu_s < CPU_S) == (True, True), outcome


def test_the_tree_that_the_crafted_ones_are_made_from_is_answered(release: Path, tmp_path: Path) -> None:
    folder = copied(release, tmp_path / "copy")
    path = folder / "model" / "point" / "trees.txt"
    assert resized(path.read_text()) == path.read_text()
    assert served_in_a_process(resealed(folder)).ended == "served"
    path = next(tmp_path.glob("copy/*")) / "model" / "point" / "trees.txt"
    path.write_text(chain(100)(path.read_text()))
    outcome = served_in_a_process(resealed(path.parents[2]))
    assert "golden answers differ" in outcome.told  # a tree, only not this release's


# Arrays and facts, made to hurt what reads them


def array_file(header: str) -> bytes:
    """Return a ``.npy`` file of 64 bytes of numbers under a header of one's own."""
    padded = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + bytes(64)


ARRAYS: dict[str, bytes] = {
    "more numbers than memory": array_file(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    ),
    "a size that wraps around": array_file(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693953, 2), }"
    ),
    "a negative size": array_file("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }"),
    "records": array_file("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (8,), }"),
    "text": array_file("{'descr': '<U4', 'fortran_order': False, 'shape': (4,), }"),
    "a header that is code": array_file("__import__('os').abort()"),
    "a header without end": array_file("{'descr': '<f8', 'fortran_order': False, 'shape': ((((((((((((((("),
    "a header of nothing": array_file(""),
    "one dimension": array_file("{'descr': '<f8', 'fortran_order': False, 'shape': (8,), }"),
    "numbers that are none": b"\x93NUMPY\x01\x00\x76\x00"
    + b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 4), }".ljust(117)
    + b"\n"
    + np.full(8, np.nan).tobytes(),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_an_array_that_is_none_is_refused_by_its_name_or_changes_nothing(
    release: Path, tmp_path: Path, case: str
) -> None:
    folder = copied(release, tmp_path / "copy")
    (folder / "model" / "features" / "centres_km.npy").write_bytes(ARRAYS[case])
    outcome = served_in_a_process(resealed(folder))
    unused = case in ("one dimension", "numbers that are none")  # this contract has no place, so no centres
    assert outcome.ended == "served" if unused else (outcome.ended == "refused"), outcome
    assert unused or "centres_km.npy: not an array of numbers" in outcome.told


FACTS: dict[str, tuple[str, bytes]] = {
    "nested without end": ("model/model.json", b"[" * 200_000),
    "a contract nested without end": ("model/contract.json", b'{"a":' * 200_000),
    "golden rows nested without end": ("golden.json", b'{"instances": [' + b"[" * 200_000),
    "a list": ("model/model.json", b"[]"),
    "layers without end": ("model/point/scorer.json", b'{"kind": "network", "n_layers": 1e300}'),
    "no layers": ("model/point/scorer.json", b'{"kind": "network", "n_layers": 0}'),
    "a constant that is none": ("model/point/scorer.json", b'{"kind": "constant", "value": NaN}'),
    "an infinite constant": ("model/point/scorer.json", b'{"kind": "constant", "value": 1e999}'),
    "an integer without end": (
        "model/point/scorer.json",
        b'{"kind": "constant", "value": ' + b"9" * 5000 + b"}",
    ),
    "a kind that is code": ("model/point/scorer.json", b'{"kind": "builtins.eval"}'),
    "bytes that are no text": ("model/model.json", b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("case", FACTS)
def test_facts_that_are_none_are_refused_in_little_time_and_memory(
    release: Path, tmp_path: Path, case: str
) -> None:
    name, content = FACTS[case]
    folder = copied(release, tmp_path / "copy")
    (folder / name).write_bytes(content)
    if name == "model/contract.json":
        shutil.copy(folder / name, folder / "contract.json")
    outcome = served_in_a_process(resealed(folder))
    assert outcome.ended == "refused", outcome
    assert (outcome.seconds < LIMIT_S, outcome.cpu_s < CPU_S) == (True, True), outcome


@pytest.mark.parametrize(
    "rule", ["(" * 5000 + "area" + ")" * 5000, "not " * 5000 + "area > 1", "area > " + "-" * 5000 + "1"]
)
def test_a_row_rule_nested_without_end_is_refused(release: Path, tmp_path: Path, rule: str) -> None:
    folder = copied(release, tmp_path / "copy")
    contract = json.loads((folder / "contract.json").read_text())
    contract["rules"][0]["rule"] = rule
    for name in ("contract.json", "model/contract.json"):
        (folder / name).write_text(json.dumps(contract))
    outcome = served_in_a_process(resealed(folder))
    assert outcome.ended == "refused", outcome
