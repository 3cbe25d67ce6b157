"""Malicious artifacts: a pickle in every place where one could hide. None is ever opened.

Opened, the payload makes a file (the canary): a case passes when the artifact is refused by name and
there is no such file.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError
from hedonic.model.manifest import MANIFEST, RECORD, Manifest
from hedonic.model.plain_files import read_array
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.predictor import load_release
from hedonic.serving.source import champion_source
from tests.answered import answered
from tests.broken_release import copied
from tests.drills import DrillTable
from tests.endpoints import start_endpoint
from tests.serving.conftest import Served
from tests.tiny_release import ROW, tiny_release

pytestmark = [pytest.mark.fault, pytest.mark.drill]

N_PROMISED = 50
Hide = Callable[[Path, "Payload"], None]


class Payload:
    """What makes the canary when it is opened, as pickle and as other things that run."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary
        self.code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
        self.python = f"import pathlib; pathlib.Path({str(canary)!r}).touch()\n".encode()

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.canary}",)

    def pickled(self, protocol: int = 4) -> bytes:
        return pickle.dumps(self, protocol)

    @property
    def as_text(self) -> str:
        return base64.b64encode(self.pickled()).decode()

    @property
    def as_array(self) -> bytes:
        """Return a ``.npy`` file of Python objects, which is a pickle under numpy's header."""
        file = io.BytesIO()
        np.save(file, np.array([self], dtype=object), allow_pickle=True)
        return file.getvalue()

    def zipped(self, *names: str) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, self.as_array if name.endswith(".npy") else self.pickled())
        return file.getvalue()


@pytest.fixture
def payload(tmp_path: Path) -> Payload:
    return Payload(tmp_path / "canary")


@pytest.fixture(scope="module")
def refused(drill_table: DrillTable) -> Iterator[list[str]]:
    """Return where the cases are named that were refused without being opened; their number is printed."""
    found: list[str] = []
    yield found
    drill_table.add("malicious artifacts", len(found), "each refused, none executed")
    if len(found) == len(IN_A_RELEASE) + len(IN_A_REQUEST) + len(ON_THE_WAY):
        assert len(found) >= N_PROMISED


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_release(tmp_path_factory.mktemp("releases"))


def opens(payload: Payload, opener: Callable[[], object]) -> bool:
    """Return whether the payload works: a case that could not fail would show nothing."""
    with contextlib.suppress(Exception):
        opener()
    made = payload.canary.exists()
    payload.canary.unlink(missing_ok=True)
    return made


def test_the_payload_makes_the_canary_wherever_it_is_opened(payload: Payload, tmp_path: Path) -> None:
    import yaml

    (tmp_path / "a.npy").write_bytes(payload.as_array)
    (tmp_path / "a.npz").write_bytes(payload.zipped("a.npy"))
    tag = f"!!python/object/apply:os.system ['touch {payload.canary}']"
    assert opens(payload, lambda: [pickle.loads(payload.pickled(p)) for p in range(6)])
    assert opens(payload, lambda: np.load(tmp_path / "a.npy", allow_pickle=True))
    assert opens(payload, lambda: np.load(tmp_path / "a.npz", allow_pickle=True)["a"])
    assert opens(payload, lambda: yaml.load(tag, Loader=yaml.UnsafeLoader))
    assert opens(payload, lambda: eval(payload.code))
    assert opens(payload, lambda: exec(payload.python))


# In a release: its files, beside them, and in what names them


def sealed(folder: Path) -> Path:
    """Return the folder under a manifest that vouches for every file in it, of whatever kind."""
    if not (folder / MANIFEST).is_file() or (folder / MANIFEST).is_symlink():
        return folder
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        files = {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file() and path.name not in (MANIFEST, RECORD)
        }
        manifest = Manifest(**{**content, "files": {**files, **content.get("more_files", {})}})
    except (ValueError, TypeError):
        return folder
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    return folder.rename(folder.parent / manifest.digest)


def write(name: str, content: Callable[[Payload], bytes]) -> Hide:
    def hide(folder: Path, payload: Payload) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content(payload))

    return hide


def pickled(payload: Payload) -> bytes:
    return payload.pickled()


def both(content: Callable[[Payload], bytes]) -> Hide:
    """Return what replaces both contracts of a release."""

    def hide(folder: Path, payload: Payload) -> None:
        for name in ("contract.json", "model/contract.json"):
            write(name, content)(folder, payload)

    return hide


def said(template: str) -> Callable[[Payload], bytes]:
    """Return JSON in which PICKLE stands for the pickle as text and CODE for Python."""
    return lambda p: template.replace("PICKLE", p.as_text).replace("CODE", p.code.replace('"', "'")).encode()


def in_json(name: str, change: Callable[[dict[str, Any], Payload], None]) -> Hide:
    """Return what changes a JSON file of the release; the contract is there twice."""

    def hide(folder: Path, payload: Payload) -> None:
        paths = [folder / name, *([folder / "model" / name] if name == "contract.json" else [])]
        for path in paths:
            content = json.loads(path.read_text())
            change(content, payload)
            path.write_text(json.dumps(content))

    return hide


def link(name: str, to: str) -> Hide:
    """Return what puts a link to a pickle outside of the release in the place of a file."""

    def hide(folder: Path, payload: Payload) -> None:
        outside = folder.parent / "outside"
        outside.mkdir()
        (outside / to).write_bytes(payload.pickled())
        target = folder / name
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
        target.symlink_to(outside if to == "folder" else outside / to)

    return hide


def pipe(folder: Path, payload: Payload) -> None:
    (folder / "golden.json").unlink()
    os.mkfifo(folder / "golden.json")


def after_a_true_head(payload: Payload) -> bytes:
    return b"tree\nversion=v4\n\nTree=0\n" + payload.pickled(0) + b"\nend of trees\n"


def network(part: str) -> Hide:
    """Return what makes the width a network of one layer, a part of which is a pickle."""

    def hide(folder: Path, payload: Payload) -> None:
        width = folder / "width" if (folder / "width").is_dir() else folder / "model" / "width"
        (width / "scorer.json").write_text('{"kind": "network", "n_layers": 1}')
        np.save(width / "layer_0_weights.npy", np.zeros((8, 1)))
        np.save(width / "layer_0_biases.npy", np.zeros(1))
        np.save(width / "design.npy", np.array([range(8), [0] * 8, [0] * 8, [1] * 8], dtype=np.float64))
        (width / "design.json").write_text('{"clip": 6.0, "categories": [], "codes": []}')
        (width / part).write_bytes(payload.as_array)

    return hide


def listed(name: str) -> Hide:
    """Return what makes the manifest list a pickle under a name of one's own."""

    def hide(folder: Path, payload: Payload) -> None:
        (folder.parent / "outside.npy").write_bytes(payload.pickled())
        content = json.loads((folder / MANIFEST).read_bytes())
        digest = hashlib.sha256(payload.pickled()).hexdigest()
        content["files"][name.replace("HERE", str(folder.parent))] = digest
        manifest = Manifest(**content)
        (folder / MANIFEST).write_bytes(manifest.to_bytes())

    return hide


CENTRES = "model/features/centres_km.npy"
JSONPICKLE = said('{"py/reduce": [{"py/function": "builtins.eval"}, {"py/tuple": ["CODE"]}]}')
YAML_TAG = said('!!python/object/apply:eval ["CODE"]')

IN_A_RELEASE: dict[str, tuple[Hide, str]] = {
    # a pickle in place of a file
    "the manifest": (write(MANIFEST, pickled), "manifest.json: not a manifest"),
    "the record": (write(RECORD, pickled), "record.json: not a record"),
    "the golden rows": (write("golden.json", pickled), "golden.json: not golden rows"),
    "the model's facts": (write("model/model.json", pickled), "model.json: not a JSON object"),
    "the features' facts": (
        write("model/features/features.json", pickled),
        "features.json: not a JSON object",
    ),
    "the scorer's facts": (write("model/point/scorer.json", pickled), "scorer.json: not a JSON object"),
    "the trees": (write("model/point/trees.txt", pickled), "the model cannot be read: .*decode"),
    "the trees, in protocol 0": (write("model/point/trees.txt", lambda p: p.pickled(0)), "not a whole model"),
    "the trees, after a true head": (
        write("model/width/trees.txt", after_a_true_head),
        "LightGBM text: damaged",
    ),
    "the contract": (
        both(pickled),
        "the model cannot be read",
    ),
    "one of the two contracts": (
        write("contract.json", pickled),
        "contract.json and model/contract.json differ",
    ),
    "an array": (write(CENTRES, pickled), "centres_km.npy: not an array of numbers"),
    # a pickle inside a file
    "an array of objects": (write(CENTRES, lambda p: p.as_array), "centres_km.npy: .*Python objects"),
    "an array that is an archive": (
        write(CENTRES, lambda p: p.zipped("a.npy")),
        "centres_km.npy: not an array",
    ),
    "an array that is a torch file": (
        write(CENTRES, lambda p: p.zipped("archive/data.pkl", "archive/version")),
        "centres_km.npy: not an array",
    ),
    "an array that is a joblib file": (
        write(CENTRES, lambda p: gzip.compress(p.pickled())),
        "centres_km.npy: not an array",
    ),
    "an array whose header is code": (
        write(CENTRES, lambda p: b"\x93NUMPY\x01\x00\x76\x00" + p.code.encode().ljust(117) + b"\n"),
        "centres_km.npy: not an array",
    ),
    "an array whose type is objects, by its header": (
        write(CENTRES, lambda p: p.as_array.replace(b"(1,)", b"(0,)")),
        "centres_km.npy: .*Python objects",
    ),
    "a network's weights": (
        network("layer_0_weights.npy"),
        "layer_0_weights.npy: .*Python objects",
    ),
    "a network's biases": (network("layer_0_biases.npy"), "layer_0_biases.npy: .*Python objects"),
    "a network's design": (network("design.npy"), "design.npy: .*Python objects"),
    "a scorer of a kind of its own": (
        write("model/point/scorer.json", said('{"kind": "pickle", "value": "PICKLE"}')),
        "unknown kind of scorer 'pickle'",
    ),
    "a constant": (
        write("model/point/scorer.json", said('{"kind": "constant", "value": "PICKLE"}')),
        "the model cannot be read",
    ),
    "an object for jsonpickle": (
        write("model/model.json", JSONPICKLE),
        "the model cannot be read",
    ),
    "a YAML tag in the contract": (
        both(YAML_TAG),
        "the model cannot be read",
    ),
    "a row rule": (
        in_json("contract.json", lambda c, p: c["rules"][0].update(rule=f"{p.code} == 0")),
        "the model cannot be read",
    ),
    "a category of the contract": (
        in_json("contract.json", lambda c, p: c.update(pickle=p.as_text)),
        "the model cannot be read",
    ),
    "a golden row": (
        in_json("golden.json", lambda c, p: c["instances"][0].update(garden=p.as_text)),
        "a golden row is not answered",
    ),
    "a golden answer": (
        in_json("golden.json", lambda c, p: c["answers"][0].update(unit=p.as_text)),
        "golden answers differ",
    ),
    "the record's figures": (
        write(RECORD, said('{"format_version": 1, "figures": {"mdape_pct": "PICKLE"}}')),
        "record.json: not a record",
    ),
    # beside the files
    "a .pkl beside": (write("model/model.pkl", pickled), "model/model.pkl: a release holds"),
    "a .joblib beside": (
        write("model/model.joblib", lambda p: gzip.compress(p.pickled())),
        "model.joblib: a release",
    ),
    "a .pt beside": (
        write("model/model.pt", lambda p: p.zipped("archive/data.pkl")),
        "model.pt: a release holds",
    ),
    "a .pth beside": (write("hedonic.pth", lambda p: p.python), "hedonic.pth: a release holds"),
    "a .py beside": (write("model/__init__.py", lambda p: p.python), "model/__init__.py: a release holds"),
    "a .pyc beside": (write("model/__pycache__/model.pyc", pickled), "model.pyc: a release holds"),
    "a .so beside": (
        write("lib_lightgbm.so", lambda p: b"\x7fELF" + p.pickled()),
        "lib_lightgbm.so: a release holds",
    ),
    "a .npz beside": (
        write("model/features.npz", lambda p: p.zipped("a.npy")),
        "features.npz: a release holds",
    ),
    "a file without a kind": (write("model/.pickle", pickled), "model/.pickle: a release holds"),
    "a suffix in capitals": (write("model/model.NPY", lambda p: p.as_array), "model.NPY: a release holds"),
    # in place of files, and in what names them
    "a link to a file": (link("golden.json", "golden.json"), "golden.json: a link or device"),
    "a link to the manifest": (link(MANIFEST, "manifest.json"), "manifest.json"),
    "a link to the record": (link(RECORD, "record.json"), "record.json: a link or device"),
    "a link to a folder": (link("judged", "folder"), "judged: a link or device"),
    "a pipe": (pipe, "golden.json: a link or device"),
    "a path out of the release": (listed("../outside.npy"), r"outside.npy: missing"),
    "a path of the machine": (listed("HERE/outside.npy"), "outside.npy: missing"),
    "a path inside and out again": (listed("model/../../outside.npy"), "outside.npy: missing"),
}

SEALED = {name for name in IN_A_RELEASE if not name.startswith(("a link", "a pipe", "a path"))}


@pytest.mark.parametrize("case", IN_A_RELEASE)
def test_a_release_that_hides_a_pickle_is_refused_and_the_pickle_is_not_opened(
    release: Path, tmp_path: Path, payload: Payload, refused: list[str], case: str
) -> None:
    hide, told = IN_A_RELEASE[case]
    folder = copied(release, tmp_path / "tiny_town")
    hide(folder, payload)
    if case in SEALED:
        folder = sealed(folder)  # a manifest vouches for it: digests alone do not help
    elif case.startswith("a path"):
        folder = folder.rename(folder.parent / hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest())
    with pytest.raises(HedonicError, match=f"(?s){told}"):
        load_release(folder)
    assert not payload.canary.exists()
    refused.append(case)


# In what leads to a release, and in what is kept of its answers


def rows_seen(folder: Path, payload: Payload) -> None:
    (folder / "seen_rows.npy").write_bytes(payload.as_array)
    read_array(folder / "seen_rows.npy")


def contract_file(folder: Path, payload: Payload) -> None:
    (folder / "cars.yaml").write_bytes(b"name: cars\ntitle: " + YAML_TAG(payload))
    load_contract(folder / "cars.yaml")


def pointer(folder: Path, payload: Payload) -> None:
    (folder / "serving").mkdir()
    (folder / "serving" / "tiny_town.json").write_bytes(payload.pickled())
    champion_source(folder, "tiny_town")


def log_row(column: str) -> Hide:
    def hide(folder: Path, payload: Payload) -> None:
        store = PredictionLogStore(str(folder / "log.db"))
        with contextlib.closing(store):
            store.append([answered(request_id="a-pickle")._replace(**{column: payload.pickled()})])
            store.rows("a-pickle")

    return hide


ON_THE_WAY: dict[str, tuple[Hide, str]] = {
    "the rows that a champion has seen": (rows_seen, "seen_rows.npy: .*Python objects"),
    "a contract in YAML": (contract_file, "cars.yaml: not YAML"),
    "the pointer to the champion": (pointer, "tiny_town.json: not a pointer"),
    "a logged request": (log_row("request"), "request a-pickle: what is stored is not a request"),
    "a logged response": (log_row("response"), "request a-pickle: what is stored is not a request"),
}


@pytest.mark.parametrize("case", ON_THE_WAY)
def test_a_pickle_on_the_way_to_a_release_or_in_its_log_is_refused_and_not_opened(
    tmp_path: Path, payload: Payload, refused: list[str], case: str
) -> None:
    hide, told = ON_THE_WAY[case]
    with pytest.raises(HedonicError, match=f"(?s){told}"):
        hide(tmp_path, payload)
    assert not payload.canary.exists()
    refused.append(case)


# In a request


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    with contextlib.ExitStack() as stack:
        yield start_endpoint(stack, home, tiny_release(home / "releases"))[0]


PICKLE_TYPE = "application/vnd.bentoml+pickle"
BENTOML_HEADERS = {
    "Payload-Container": "DefaultContainer",
    "Payload-Meta": '{"format": "pickle5", "pickle_bytes_str": "PICKLE"}',
    "Batch-Size": "1",
    "Args-Number": "1",
    "Bentoml-Io-Descriptor": "pickle",
    "buffer-lengths": "LENGTH",
}
FORM = b'--x\r\nContent-Disposition: form-data; name="instances"; filename="a.pkl"\r\n\r\n%s\r\n--x--\r\n'

IN_A_REQUEST: dict[str, tuple[str, str, dict[str, str], Callable[[Payload], bytes], int]] = {
    "BentoML's pickles": ("POST", "/predict", {"Content-Type": PICKLE_TYPE}, pickled, 415),
    "in capitals": ("POST", "/predict", {"Content-Type": PICKLE_TYPE.upper()}, pickled, 415),
    "with a parameter": ("POST", "/predict", {"Content-Type": f"{PICKLE_TYPE}; v=1"}, pickled, 415),
    "after JSON": ("POST", "/predict", {"Content-Type": f"application/json, {PICKLE_TYPE}"}, pickled, 415),
    "on the declared route": ("POST", "/predict?declared", {"Content-Type": PICKLE_TYPE}, pickled, 415),
    "on version 1": ("POST", "/api/v1/predict?declared", {"Content-Type": PICKLE_TYPE}, pickled, 415),
    "on explanations": ("POST", "/explain", {"Content-Type": PICKLE_TYPE}, pickled, 415),
    "on feedback": ("POST", "/feedback", {"Content-Type": PICKLE_TYPE}, pickled, 415),
    "on Amazon's route": ("POST", "/invocations", {"Content-Type": PICKLE_TYPE}, pickled, 415),
    "on a page": ("POST", "/model/info", {"Content-Type": PICKLE_TYPE}, pickled, 415),
    "put": ("PUT", "/predict", {"Content-Type": PICKLE_TYPE}, pickled, 415),
    "got": ("GET", "/predict", {"Content-Type": PICKLE_TYPE}, pickled, 405),
    "of another name": ("POST", "/predict", {"Content-Type": "application/python-pickle"}, pickled, 415),
    "of joblib": ("POST", "/predict", {"Content-Type": "application/octet-stream"}, pickled, 415),
    "in a form": (
        "POST", "/predict?declared", {"Content-Type": "multipart/form-data; boundary=x"},
        lambda p: FORM % p.pickled(), 415,
    ),
    "in a web form": (
        "POST", "/predict?declared", {"Content-Type": "application/x-www-form-urlencoded"},
        lambda p: b"instances=" + p.as_text.encode(), 415,
    ),
    "compressed": (
        "POST", "/predict", {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        lambda p: gzip.compress(p.pickled()), 415,
    ),
    "in the headers that BentoML reads": (
        "POST", "/predict?declared", {"Content-Type": PICKLE_TYPE, **BENTOML_HEADERS}, pickled, 415,
    ),
    "in these headers, said to be JSON": (
        "POST", "/predict?declared", {"Content-Type": "application/json", **BENTOML_HEADERS}, pickled, 400,
    ),
    "in these headers, without a type": ("POST", "/predict?declared", BENTOML_HEADERS, pickled, 400),
    "said to be JSON": ("POST", "/predict", {"Content-Type": "application/json"}, pickled, 400),
    "said to be JSON, on feedback": ("POST", "/feedback", {"Content-Type": "application/json"}, pickled, 400),
    "as text in a field": (
        "POST", "/predict", {"Content-Type": "application/json"},
        lambda p: json.dumps({"instances": [{**ROW, "quarter": p.as_text}]}).encode(), 400,
    ),
    "as an object in a field": (
        "POST", "/predict", {"Content-Type": "application/json"},
        lambda p: json.dumps({"instances": [{**ROW, "garden": {"py/object": p.code}}]}).encode(), 400,
    ),
    "as the id of feedback": (
        "POST", "/feedback", {"Content-Type": "application/json"},
        lambda p: json.dumps({"request_id": p.as_text + "=" * 200, "price": 1}).encode(), 400,
    ),
    "as an array": ("POST", "/predict", {"Content-Type": "application/json"}, lambda p: p.as_array, 400),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", IN_A_REQUEST)
def test_a_pickle_in_a_request_is_refused_and_not_opened(
    endpoint: Served, payload: Payload, refused: list[str], case: str
) -> None:
    method, path, headers, content, status = IN_A_REQUEST[case]
    body = content(payload)
    filled = {
        name: value.replace("PICKLE", payload.as_text).replace("LENGTH", str(len(body)))
        if name in BENTOML_HEADERS
        else value
        for name, value in headers.items()
    }
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, filled)
        answer = connection.getresponse()
        told = answer.read()
    assert answer.status == status, told
    assert set(json.loads(told)) == {"error", "request_id"}
    assert not payload.canary.exists()
    assert endpoint.predict(ROW).status == 200
    refused.append(case)
