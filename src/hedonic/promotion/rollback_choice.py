"""The choice of a roll-back's target: by model version, by digest, or the champion before the present one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hedonic.data.contract import Frozen
from hedonic.errors import ReleaseRefused, UserError
from hedonic.promotion.record import Record
from hedonic.promotion.release_version import release_version
from hedonic.promotion.rollback_target import line_of_champions

_SHOWN = 12


class Rollback(Frozen):
    """A roll-back that is to be made.

    Attributes:
        champion: the record that made the present champion.
        target: the record that made its release champion before, with what was known of it then.
    """

    champion: Record
    target: Record


def choose_target(
    records: tuple[Record, ...], releases: Path, dataset: str, to: str | None = None
) -> Rollback:
    """Return the roll-back to the release that was asked for.

    Args:
        records: the history of the data set, oldest first.
        releases: the folder of its releases, ``<digest>/``.
        dataset: the data set.
        to: a model version, a release digest or its beginning; by default the champion before this one.

    Raises:
        UserError: there is no such release, it is the champion, it never was champion, or it was collected.
        ReleaseRefused: its folder is gone, and nothing says that it was collected.
    """
    line = line_of_champions(records)
    if not line:
        raise UserError(f"{dataset}: no champion yet, so there is nothing to roll back.")
    champions = {record.release or "": record for record in records if record.crowns}
    # With what was known of it when it passed the gate, which a bare roll-back need not repeat.
    champions |= {r.release or "": r for r in records if r.crowns and r.kind != "rolled_back"}
    champion = next(record for record in reversed(records) if record.crowns)
    known = _Known(
        dataset=dataset,
        releases=releases,
        champions=tuple(champions),
        champion=champion.release or "",
        records=records,
    )
    if to is not None:
        release = known.find(to.strip().lower())
    elif len(line) > 1:
        release = line[-2].release or ""
    else:
        raise UserError(
            f"{dataset}: there is no champion before release {known.champion[:16]} to go back to. Name one "
            f"by --to. {known.told()}"
        )
    if release == known.champion:
        raise UserError(f"{dataset}: release {release[:16]} is the champion already. {known.told()}")
    known.refuse_gone(release)
    return Rollback(champion=champion, target=champions[release])


class _Known(Frozen):
    """The releases of a data set that were champion."""

    dataset: str
    releases: Path
    champions: tuple[str, ...]
    champion: str
    records: tuple[Record, ...]

    def find(self, to: str) -> str:
        """Return the digest of the champion that ``to`` names."""
        by_version = [release for release in self.champions if self._version(release) == to]
        found = by_version or [release for release in self.champions if to and release.startswith(to)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(
                f"{self.dataset}: --to {to}: several releases are named so. Give more of a digest. "
                f"{self.told()}"
            )
        made = [
            path for path in self._folders() if path.name.startswith(to) or self._version(path.name) == to
        ]
        if to and made:
            raise UserError(
                f"{self.dataset}: release {made[0].name[:16]} never was champion: only what the gate let "
                f"through can be gone back to. {self.told()}"
            )
        raise UserError(f"{self.dataset}: --to {to}: no such model version or release. {self.told()}")

    def refuse_gone(self, release: str) -> None:
        """Refuse a release whose files are not there."""
        about = [r for r in self.records if r.release == release and (r.crowns or r.kind == "collected")]
        last = about[-1]
        if last.kind == "collected":
            raise UserError(
                f"{self.dataset}: release {release[:16]} was collected at {last.at}: its files are gone. "
                f"{self.told()}"
            )
        if not (self.releases / release).is_dir():
            raise ReleaseRefused(
                f"{self.releases / release}: is not there, and nothing says that it was collected. Restore "
                "it from a backup or from HEDONIC_STORE_URL."
            )

    def told(self) -> str:
        """Return what can be gone to, for a message."""
        names = [
            f"{release[:_SHOWN]}{f' (version {version})' if (version := self._version(release)) else ''}"
            for release in self.champions
            if release != self.champion and (self.releases / release).is_dir()
        ]
        return f"There: {', '.join(names) or 'none'}."

    def _folders(self) -> Iterator[Path]:
        for path in sorted(self.releases.glob("[0-9a-f]*")):
            if path.is_dir() and len(path.name) == 64:
                yield path

    def _version(self, release: str) -> str | None:
        """Return the model version that was made of a release; None where nothing tells."""
        return release_version(self.records, release, self.releases / release)
