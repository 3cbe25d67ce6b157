"""The artifacts of a release: each digest computed again from the bytes that are on the disk now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hedonic.data.contract import Contract
from hedonic.data.snapshot import content_digest
from hedonic.data.split import split_rows
from hedonic.data.validated import ValidationReport, read_report
from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.artifact import folder_digest
from hedonic.model.manifest import JUDGED, MODEL, verify_release
from hedonic.promotion.built_bento import verify_bento
from hedonic.provenance.check import Check, compared, unchecked
from hedonic.provenance.origin import Origin

_NO_RELEASE = "the release, whose contract tells the columns, cannot be read"


def artifact_checks(origin: Origin) -> Iterator[Check]:
    """Yield a check of the release, its judged model, its bento, and of the rows that it was made of."""
    yield check_release(origin)
    yield _check_model(origin)
    yield _check_bento(origin)
    yield _check_contract(origin)
    yield check_snapshot(origin)
    yield _check_split(origin)


def check_release(origin: Origin) -> Check:
    """Return whether every file of the release is what its manifest says, and that what was named."""
    if origin.folder is None:
        return _absent(origin, "release", origin.release, f"not in {origin.settings.releases} or any bento")
    try:
        found = verify_release(origin.folder, origin.release).digest
    except ReleaseRefused as err:
        return Check(what="release", recorded=origin.release, found=None, status="differs", told=str(err))
    return compared("release", origin.release, found, str(origin.folder))


def judged_folder(release: Path) -> Path:
    """Return the folder of the model that the gate judged; a refitted release has it beside the served."""
    return release / (JUDGED if (release / JUDGED).is_dir() else MODEL)


def _check_model(origin: Origin) -> Check:
    recorded = origin.crowning.candidate if origin.crowning else None
    if origin.folder is None:
        return _absent(origin, "judged model", recorded, "it is in the release")
    return compared("judged model", recorded, folder_digest(judged_folder(origin.folder)))


def _check_bento(origin: Origin) -> Check:
    tag = origin.crowning.bento if origin.crowning else None
    if tag is None:
        return unchecked("bento", None, "the history names none: the release was never promoted")
    folder = bento_folder(origin, tag)
    if not folder.is_dir():
        return _absent(origin, "bento", tag, f"not in {origin.settings.bentos}")
    try:
        found = verify_bento(folder, origin.crowning.bento_files if origin.crowning else None)
    except ReleaseRefused as err:
        return Check(what="bento", recorded=tag, found=None, status="differs", told=str(err))
    return compared("bento", tag, found.tag, f"serves release {found.release}")


def bento_folder(origin: Origin, tag: str) -> Path:
    """Return where the bento with this tag is, or was."""
    name, _, version = tag.partition(":")
    return origin.settings.bentos / "bentos" / name / version


def _check_contract(origin: Origin) -> Check:
    recorded = origin.record.contract if origin.record else None
    if origin.contract is None:
        return _absent(origin, "contract", recorded, "it is in the release")
    return compared("contract", recorded, origin.contract.digest)


def check_snapshot(origin: Origin) -> Check:
    """Return whether the rows are those that the release was made of."""
    recorded = snapshot_digest(origin)
    if recorded is None:
        return unchecked("snapshot", None, "neither a manifest nor the history names it")
    file = snapshot_file(origin, recorded)
    if not file.is_file():
        return _absent(origin, "snapshot", recorded, f"not in {origin.settings.snapshots}")
    if origin.contract is None:
        return unchecked("snapshot", recorded, _NO_RELEASE)
    try:
        found = content_digest(origin.contract, file)
    except HedonicError as err:
        return Check(what="snapshot", recorded=recorded, found=None, status="differs", told=str(err))
    return compared("snapshot", recorded, found, str(file))


def snapshot_digest(origin: Origin) -> str | None:
    """Return the digest of the rows, by the manifest or else by the history."""
    if origin.manifest is not None:
        return origin.manifest.snapshot
    return origin.crowning.snapshot if origin.crowning else None


def snapshot_file(origin: Origin, digest: str) -> Path:
    """Return where the rows with this digest are, or were."""
    return origin.settings.snapshots / origin.dataset / digest / "snapshot.parquet"


def _check_split(origin: Origin) -> Check:
    """Return whether the same rows give the same split; those set aside are as the validation says."""
    if origin.manifest is None or origin.contract is None:
        return unchecked("split", None, _NO_RELEASE)
    recorded, file = origin.manifest.split, snapshot_file(origin, origin.manifest.snapshot)
    if not file.is_file():
        return unchecked("split", recorded, "the snapshot is not here")
    try:
        report = validation_report(origin, origin.contract)
        found = _split_digest(origin.contract, file, report)
    except (HedonicError, OSError, ValueError) as err:
        return unchecked("split", recorded, str(err))
    return compared("split", recorded, found, f"{len(report.quarantined)} rows set aside")


def validation_report(origin: Origin, contract: Contract) -> ValidationReport:
    """Return the report that let the rows pass: the recorded one, else any on the same rows and contract.

    Raises:
        HedonicError: there is none, or it was altered.
    """
    folder = origin.settings.validations
    if origin.record is not None and origin.record.validation is not None:
        return read_report(folder, origin.record.validation)
    for path in sorted(folder.glob("*.json")):
        report = read_report(folder, path.stem)
        about = (report.snapshot.digest, report.contract_digest)
        if report.passed and about == (snapshot_digest(origin), contract.digest):
            return report
    raise HedonicError(f"the validation report, which says what rows were set aside, is not in {folder}")


def _split_digest(contract: Contract, file: Path, report: ValidationReport) -> str:
    import pyarrow.parquet as pq

    frame = pq.read_table(file).to_pandas(date_as_object=False)
    return split_rows(contract, frame.drop(index=list(report.quarantined))).digest


def _absent(origin: Origin, what: str, recorded: str | None, told: str) -> Check:
    """Return the check of what is not here: let go by the history's word, or missing."""
    of_release = origin.collected(origin.release) if what != "snapshot" else None
    gone = of_release or (origin.collected(recorded) if recorded else None)
    if gone is not None:
        let_go = f"let go at {gone.at[:19]} UTC by {gone.actor}: {gone.reason}"
        return Check(what=what, recorded=recorded, found=None, status="collected", told=let_go)
    return Check(what=what, recorded=recorded, found=None, status="missing", told=told)
