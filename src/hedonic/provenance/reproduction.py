"""The reproduction: an old release made again from its record, and the first thing that differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hedonic.data.contract import Frozen
from hedonic.errors import HedonicError, UserError
from hedonic.model.artifact import folder_digest
from hedonic.model.budget import Budget
from hedonic.model.manifest import MODEL, RECORD, Manifest, read_manifest
from hedonic.promotion.bento import build_bento, tree_digest
from hedonic.provenance.artifacts import (
    bento_folder,
    check_release,
    check_snapshot,
    judged_folder,
    snapshot_file,
    validation_report,
)
from hedonic.provenance.check import Check, compared, unchecked
from hedonic.provenance.file_difference import first_difference, json_difference
from hedonic.provenance.judged_record import find_judged
from hedonic.provenance.origin import Origin
from hedonic.provenance.rebuilding import Recorded, Tell, rebuild, scratch_home
from hedonic.provenance.surroundings import check_code, check_lock, check_toolchain
from hedonic.provenance.trace import read_history
from hedonic.settings import Settings

_NEEDED = ("code", "lock", "configuration")
"""What must be as it was: with another one the digests differ, whatever else is the same."""


class Reproduction(Frozen):
    """What came of making a release again.

    Attributes:
        ingredients: snapshot, contract, code, lock, configuration and toolchain, held against the record.
        results: the judged model, the served one, the release and the bento: recorded and rebuilt. None
            where it was not rebuilt, because an ingredient is another.
        difference: the first one, of the ingredients or else of the files; None where all is the same.
    """

    dataset: str
    release: str
    version: int | None
    ingredients: tuple[Check, ...]
    results: tuple[Check, ...] | None
    difference: str | None

    @property
    def same(self) -> bool:
        """Return whether model, release and bento have the digests that they had."""
        return self.results is not None and all(check.status == "verified" for check in self.results)


def reproduce(
    settings: Settings,
    dataset: str,
    version: str,
    *,
    anyway: bool = False,
    on_ingredients: Callable[[tuple[Check, ...]], None] = lambda _: None,
    tell: Tell = lambda _: None,
) -> Reproduction:
    """Return what comes of making a release again from its record.

    History, pointer and MLflow are not touched.

    Args:
        settings: of the project, whose code and lock are used as they are.
        dataset: the data set.
        version: of the registered model, or the beginning of the release's digest.
        anyway: go on where code, lock or configuration cannot give the same digests.
        on_ingredients: is shown these before anything is made.
        tell: is told what each step came to.

    Raises:
        UserError: there is no such release, or what it is made of is not here any more.
        HedonicError: a step fails now that did not then.
    """
    history = read_history(settings, dataset)
    judged = find_judged(settings, dataset, version, history)
    if judged.release is None:
        raise UserError(
            f"{dataset}: {version} was {judged.kind}, so no release of it was made. "
            f"hedonic explain-decision {dataset} {version} tells why."
        )
    origin = Origin.find(settings, dataset, judged.release, history)
    recorded, ingredients = _recorded(origin)
    on_ingredients(ingredients)
    faults = [check for check in ingredients if check.what in _NEEDED and check.status != "verified"]
    if faults and not anyway:
        return _reproduction(origin, judged.version, ingredients, None, _told(faults[0]))
    with scratch_home(settings) as scratch:
        folder = rebuild(scratch, recorded, tell)
        results = tuple(_results(origin, scratch, folder))
        difference = _difference(origin, scratch, folder, ingredients, results)
    return _reproduction(origin, judged.version, ingredients, results, difference)


def _reproduction(
    origin: Origin,
    version: int | None,
    ingredients: tuple[Check, ...],
    results: tuple[Check, ...] | None,
    difference: str | None,
) -> Reproduction:
    return Reproduction(
        dataset=origin.dataset,
        release=origin.release,
        version=version,
        ingredients=ingredients,
        results=results,
        difference=difference,
    )


def _recorded(origin: Origin) -> tuple[Recorded, tuple[Check, ...]]:
    """Return what the release is rebuilt from, and the checks of it.

    Raises:
        UserError: something of it is not here, or is not what it was.
    """
    whole, rows = check_release(origin), check_snapshot(origin)
    for check in (whole, rows):
        if check.status != "verified":
            raise UserError(
                f"{origin.dataset}: {check.what} {(check.recorded or '')[:16]} {check.status}: {check.told}. "
                "Without it nothing can be made again; restore it from a backup, or name another version."
            )
    manifest, contract = origin.manifest, origin.contract
    if manifest is None or contract is None:  # it was verified a moment ago
        raise HedonicError(f"release {origin.release[:16]} was changed while it was read")
    report = validation_report(origin, contract)
    families = manifest.configuration.get("families")
    recorded = Recorded(
        contract=contract,
        snapshot=report.snapshot,
        rows=snapshot_file(origin, manifest.snapshot).resolve(),
        as_of=report.as_of,
        budget=Budget(trials=manifest.configuration["trials"], families=families and tuple(families)),
        seed=manifest.seed,
    )
    told = compared("contract", origin.record.contract if origin.record else None, contract.digest)
    return recorded, (
        rows,
        told,
        check_code(origin),
        check_lock(origin),
        _check_configuration(manifest),
        check_toolchain(origin),
    )


def _check_configuration(manifest: Manifest) -> Check:
    what, recorded = "configuration", f"{manifest.configuration.get('trials')} trials, seed {manifest.seed}"
    if not manifest.reproducible:
        told = (
            "a time limit cut the study; the same trials are asked for, and the manifest will say otherwise"
        )
        return Check(what=what, recorded=recorded, found=None, status="differs", told=told)
    if "families" not in manifest.configuration:
        return unchecked(
            what, recorded, "the families that were searched were not recorded: the contract's are"
        )
    return Check(
        what=what,
        recorded=recorded,
        found=recorded,
        status="verified",
        told=f"families {', '.join(manifest.configuration['families'])}",
    )


def _results(origin: Origin, scratch: Settings, rebuilt: Path) -> Iterator[Check]:
    """Yield model, release and bento: as recorded, and as they were rebuilt."""
    release = origin.folder
    assert release is not None  # it was verified
    yield compared(
        "judged model", folder_digest(judged_folder(release)), folder_digest(judged_folder(rebuilt))
    )
    yield compared("served model", folder_digest(release / MODEL), folder_digest(rebuilt / MODEL))
    yield compared("release", origin.release, rebuilt.name)
    tag = origin.bento
    if tag is None or rebuilt.name != origin.release:
        yield unchecked(
            "bento", tag, "a bento is of one release, and this is another" if tag else "none recorded"
        )
        return
    bento = build_bento(scratch.root, rebuilt, scratch.bentos, promoted=True)
    there = bento_folder(origin, tag)
    if bento.tag != tag or not there.is_dir():
        yield compared("bento", tag, bento.tag, "" if there.is_dir() else "its own bytes are not here")
        return
    yield compared("bento", f"{tag} {tree_digest(there)}", f"{bento.tag} {tree_digest(bento.folder)}")


def _difference(
    origin: Origin,
    scratch: Settings,
    rebuilt: Path,
    ingredients: tuple[Check, ...],
    results: tuple[Check, ...],
) -> str | None:
    """Return the first thing that differs: an ingredient, a fact of the manifest, a file, a served source."""
    if all(check.status == "verified" for check in results):
        return None
    release = origin.folder
    assert release is not None  # it was verified
    changed = [check for check in ingredients if check.status == "differs"]
    found = [_told(changed[0])] if changed else []
    then, now = (
        read_manifest(folder).model_dump(mode="json", exclude={"files"}) for folder in (release, rebuilt)
    )
    if not changed and (told := json_difference(then, now)):
        found.append(f"manifest: {told}")
    if told := first_difference(release, rebuilt, {RECORD, "manifest.json"}):
        found.append(f"release: {told}")
    tag = origin.bento
    if tag is None:
        found.append("bento: the history names none to compare with")
    elif rebuilt.name == origin.release:
        built = next((scratch.bentos / "bentos").glob("*/*/bento.yaml")).parent
        there = bento_folder(origin, tag)
        told = first_difference(there, built, {RECORD, ".pyc"}) if there.is_dir() else None
        found.append(f"bento: {told or f'{tag} is not here, so what differs in it cannot be said'}")
    return "; then ".join(found) or "the digests differ, and no file does: this is an error of Hedonic"


def _told(check: Check) -> str:
    """Return a check that failed in one line."""
    held = f"recorded {check.recorded}, here {check.found}" if check.found else f"recorded {check.recorded}"
    return f"{check.what}: {held}{f' ({check.told})' if check.told else ''}"
