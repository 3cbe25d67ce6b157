"""The building of images: of a release from its bento, and of what has a recipe in ``deployments/images``."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.images.bill import write_bill
from hedonic.images.book import BuiltImage, ImageBook
from hedonic.images.engine import Engine, Recipe
from hedonic.lineage import commit
from hedonic.model.manifest import CONTRACT, read_manifest, read_record
from hedonic.promotion.bento import BENTO_LABEL, LABEL, RECIPE, RECIPE_IN_BENTO, bento_labels, held_digest
from hedonic.settings import Settings

RECIPES = Path("deployments/images")
BENTO_IN_IMAGE = "/srv/bento"

_OCI = "org.opencontainers.image"
# What an image that is not a release's is made from.
_SOURCES = (
    "src", "flows", "tasks", "bentos", "expectations", "data", "deployments/automations",
    "deployments/images", "deployments/kubernetes/job-template.json",
    "prefect.yaml", "prefect.toml", "bentofile.yaml", "pyproject.toml", "requirements.txt",
    "requirements-factory.txt", "requirements-serve.txt",
)  # fmt: skip


def build_release_image(settings: Settings, engine: Engine, bento: str, release: Path) -> BuiltImage:
    """Return the image of a release, named as its bento: built unless the engine has it.

    Args:
        settings: say where bentos are, and from what images are made.
        engine: builds it.
        bento: the tag of the release's bento, ``hedonic-<data set>:<16 hex digits>``.
        release: the release's folder.

    Raises:
        ReleaseRefused: what is in the image, or in the bento, is not what the tag says.
        HedonicError: it could not be built.
    """
    name, _, version = bento.partition(":")
    folder = settings.bentos / "bentos" / name / version
    if not (folder / RECIPE_IN_BENTO).is_file():
        raise ReleaseRefused(f"bento {bento}: not in {settings.bentos}. `hedonic run` builds it again.")
    _require_content(folder, bento)
    labels = {**bento_labels(folder), **_release_labels(settings, engine, release, bento)}
    book, found, known = ImageBook(settings), engine.image(bento), ImageBook(settings).read(bento)
    if found and known and found.id == known.id:
        return known
    if found is None or found.labels.get(BENTO_LABEL) != labels[BENTO_LABEL]:
        recipe = _recipe(settings, folder, folder / RECIPE_IN_BENTO, labels)
        found = engine.build(bento, recipe, settings.logs / f"image-{name}.log")
    with tempfile.TemporaryDirectory(prefix="hedonic-image-") as scratch:
        engine.copy_out(bento, BENTO_IN_IMAGE, Path(scratch))
        _require_content(Path(scratch) / Path(BENTO_IN_IMAGE).name, bento)
    return book.write(found, write_bill(engine, found))


def build_named_image(settings: Settings, engine: Engine, name: str) -> BuiltImage:
    """Return the image ``hedonic-<name>`` of a recipe in ``deployments/images``, tagged by its sources.

    Raises:
        UserError: there is no such recipe.
        HedonicError: it could not be built.
    """
    file = settings.root / RECIPES / f"{name}.Dockerfile"
    if name not in named_images(settings.root):
        raise UserError(
            f"{name}: neither a data set nor an image. Images have a recipe in {RECIPES}: "
            f"{', '.join(named_images(settings.root)) or 'none'}."
        )
    digest, known = _source_digest(settings.root), commit(settings.root)
    image = f"hedonic-{name}:{digest[:16]}"
    labels = {
        f"{_OCI}.title": f"hedonic-{name}",
        f"{_OCI}.version": digest[:16],
        f"{_OCI}.base.name": settings.image.base,
        "hedonic.sources": digest,
    }
    if known:
        labels[f"{_OCI}.revision"] = f"{known.sha}{'-dirty' if known.dirty else ''}"
    found = engine.build(
        image, _recipe(settings, settings.root, file, labels), settings.logs / f"image-{name}.log"
    )
    return ImageBook(settings).write(found, write_bill(engine, found))


def named_images(root: Path) -> tuple[str, ...]:
    """Return the names of the images that have a recipe of their own; a new one needs its file alone."""
    found = sorted(path.stem for path in (root / RECIPES).glob("*.Dockerfile"))
    return tuple(name for name in found if name != RECIPE.stem)


def _recipe(settings: Settings, context: Path, file: Path, labels: Mapping[str, str]) -> Recipe:
    return Recipe(
        context=context,
        file=file,
        labels=labels,
        arguments={"BASE_IMAGE": settings.image.base},
        secrets={"pip_conf": settings.image.pip_conf} if settings.image.pip_conf else {},
    )


def _release_labels(settings: Settings, engine: Engine, release: Path, bento: str) -> dict[str, str]:
    """Return what a label tells of where the release comes from."""
    manifest, record = read_manifest(release), read_record(release)
    labels = {
        f"{_OCI}.title": bento.partition(":")[0],
        f"{_OCI}.description": f"Prices of {manifest.dataset}",
        f"{_OCI}.version": bento.partition(":")[2],
        f"{_OCI}.base.name": settings.image.base,
        f"{_OCI}.base.digest": engine.base_digest(settings.image.base),
        f"{_OCI}.revision": record.commit if record else None,
        LABEL: manifest.digest,
        "hedonic.dataset": manifest.dataset,
        "hedonic.snapshot": manifest.snapshot,
        "hedonic.contract": manifest.files[CONTRACT],
        "hedonic.lock": manifest.lock,
        "hedonic.training-code": manifest.code,
    }
    return {name: value for name, value in labels.items() if value}


def _require_content(bento: Path, tag: str) -> None:
    """Refuse a bento that holds something else than its tag says."""
    digest = held_digest(bento)
    if not tag.endswith(f":{digest[:16]}"):
        raise ReleaseRefused(
            f"{tag}: holds {digest[:16]}, not what its tag says. Remove it; `hedonic run` makes it again."
        )


def _source_digest(root: Path) -> str:
    """Return the sha256 over every file that such an image may be made from."""
    files: dict[str, str] = {}
    for source in _SOURCES:
        path = root / source
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        files |= {one.relative_to(root).as_posix(): _sha256(one) for one in below if _counts(one)}
    if not files:
        raise HedonicError(f"{root}: holds none of {', '.join(_SOURCES)}")
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _counts(path: Path) -> bool:
    return path.is_file() and not re.search(r"/__pycache__/|\.pyc$", path.as_posix())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
