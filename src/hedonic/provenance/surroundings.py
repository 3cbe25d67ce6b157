"""The surroundings of a release: code, lock, commit and source, which may have moved on since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from hedonic.data.contract_file import load_contract
from hedonic.data.source import resolve
from hedonic.errors import HedonicError
from hedonic.lineage import code_digest, lock_digest, step_sources
from hedonic.provenance.check import Check, compared, unchecked
from hedonic.provenance.origin import Origin
from hedonic.toolchain import toolchain
from hedonic.watching.committed import committed_tree

FLOW = "flows/train.py"
"""What makes a release; the code that its manifest names is all that this imports."""

DIRTY = "-dirty"


def surrounding_checks(origin: Origin) -> Iterator[Check]:
    """Yield a check of the source, the contract, the code, the lock and the toolchain that are here now."""
    yield _check_source(origin)
    yield _check_expectations(origin)
    yield check_code(origin)
    yield check_commit(origin)
    yield check_lock(origin)
    yield check_toolchain(origin)


def _check_source(origin: Origin) -> Check:
    """Return whether the source still holds the bytes that the snapshot was made of."""
    record = origin.record
    if record is None or record.source_uri is None:
        return unchecked("source", None, "nobody wrote it down")
    place = resolve(record.source_uri, origin.settings.root)
    if "://" in place:
        return unchecked("source", record.source_sha256, f"{place} is not on this machine, and not read here")
    if not Path(place).is_file():
        told = f"{record.source_uri} is not there; the snapshot holds its rows"
        return Check(what="source", recorded=record.source_sha256, found=None, status="missing", told=told)
    with Path(place).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return compared("source", record.source_sha256, found, record.source_uri)


def _check_expectations(origin: Origin) -> Check:
    path = origin.settings.expectations / f"{origin.dataset}.yaml"
    recorded = origin.contract.digest if origin.contract else None
    if not path.is_file():
        told = f"{path.name} is not in expectations/; the release carries its own"
        return Check(
            what="contract in expectations/", recorded=recorded, found=None, status="missing", told=told
        )
    try:
        found = load_contract(path).digest
    except HedonicError as err:
        return Check(
            what="contract in expectations/", recorded=recorded, found=None, status="differs", told=str(err)
        )
    return compared("contract in expectations/", recorded, found)


def check_code(origin: Origin) -> Check:
    """Return whether the code here means what the code meant that made the release."""
    root, recorded = origin.settings.root, origin.manifest.code if origin.manifest else None
    try:
        found = code_digest(root, step_sources(root, FLOW))
    except (HedonicError, OSError) as err:
        return unchecked("code", recorded, str(err))
    told = "" if recorded in (None, found) else check_out(origin)
    return compared("code", recorded, found, told)


def check_out(origin: Origin) -> str:
    """Return how to come to the code that made the release."""
    commit = origin.record.commit if origin.record else None
    if commit is None:
        return "no commit was recorded with it"
    sha = commit.removesuffix(DIRTY)
    if commit != sha:
        return f"it was commit {sha} with uncommitted changes, which are not kept"
    return f"git checkout {sha}"


def check_commit(origin: Origin) -> Check:
    """Return whether the recorded commit, as git has it, holds the code that made the release."""
    recorded = origin.record.commit if origin.record else None
    if recorded is None:
        return unchecked("commit", None, "it was not made in a git repository, or nobody wrote it down")
    sha = recorded.removesuffix(DIRTY)
    code = origin.manifest.code if origin.manifest else None
    try:
        with committed_tree(origin.settings.root, sha) as tree:
            found = code_digest(tree, step_sources(tree, FLOW))
    except (HedonicError, OSError) as err:
        return Check(what="commit", recorded=recorded, found=None, status="missing", told=str(err))
    dirty = "made with uncommitted changes" if sha != recorded else ""
    if code is None:
        return unchecked("commit", recorded, "the manifest, which names the code, cannot be read")
    if found == code:
        told = f"{dirty}; none of them in the code that made it" if dirty else "its code made the release"
        return Check(what="commit", recorded=recorded, found=sha, status="verified", told=told)
    told = f"its code is another ({found[:12]}) than the release's ({code[:12]})"
    told = f"{dirty}: {told}" if dirty else told
    return Check(what="commit", recorded=recorded, found=sha, status="differs", told=told)


def check_lock(origin: Origin) -> Check:
    """Return whether the lock here is the one that the release was made under."""
    recorded = origin.manifest.lock if origin.manifest else None
    try:
        return compared("lock", recorded, lock_digest(origin.settings.root))
    except HedonicError as err:
        return Check(what="lock", recorded=recorded, found=None, status="missing", told=str(err))


def check_toolchain(origin: Origin) -> Check:
    """Return whether Python, libraries and numeric variables are those of then, naming what is not."""
    then = origin.record.toolchain if origin.record else {}
    if not then:
        return unchecked("toolchain", None, "nobody wrote it down")
    now = toolchain()
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    moved = "; ".join(f"{name} {then.get(name) or 'none'} -> {now.get(name) or 'none'}" for name in names)
    return Check(
        what="toolchain",
        recorded=f"python {then.get('python')}",
        found=f"python {now['python']}",
        status="differs" if names else "verified",
        told=moved,
    )
