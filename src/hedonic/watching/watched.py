"""What is watched: the contracts there are, and the folders in which something may happen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from hedonic.data.contract import Contract
from hedonic.data.contract_file import load_contract
from hedonic.data.fingerprint import local_path
from hedonic.data.source import resolve
from hedonic.errors import ContractError
from hedonic.settings import Settings
from hedonic.watching.committed import head_folders

logger = logging.getLogger("hedonic.watch")

_Stamp = tuple[int, int]


class Contracts:
    """The contracts of a project; one that was not written since is not read again."""

    def __init__(self, folder: Path) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._known: dict[Path, tuple[_Stamp, Contract | None]] = {}

    def all(self) -> tuple[Contract, ...]:
        """Return every contract that can be read, by name; what is wrong with another is logged once."""
        found = sorted(self._folder.glob("*.yaml"))
        self._known = {path: known for path, known in self._known.items() if path in found}
        return tuple(contract for path in found if (contract := self._read(path)) is not None)

    def _read(self, path: Path) -> Contract | None:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        stamp = stat.st_size, stat.st_mtime_ns
        if path not in self._known or self._known[path][0] != stamp:
            try:
                self._known[path] = stamp, load_contract(path)
            except ContractError as err:
                self._known[path] = stamp, None
                logger.warning("%s", err)
        return self._known[path][1]


def sources(settings: Settings, contracts: tuple[Contract, ...]) -> Iterator[Path]:
    """Yield the file of each data set whose source is on this machine."""
    for contract in contracts:
        path = local_path(resolve(contract.source.uri, settings.root))
        if path is not None:
            yield path


def folders(settings: Settings, contracts: tuple[Contract, ...]) -> dict[Path, int]:
    """Return the folders to be watched, each with its inode: one made anew is another folder.

    They are those of the contracts, of local sources (a link's, and that of what it leads to), and those
    in which git says what is checked out. In place of one that does not exist stands the nearest above.
    """
    wanted = {settings.expectations, *head_folders(settings.root)}
    for path in sources(settings, contracts):
        wanted |= {path.parent, path.resolve().parent}
    return dict(_nearest(path) for path in wanted)


def _nearest(folder: Path) -> tuple[Path, int]:
    for path in (folder, *folder.parents):
        try:
            if path.is_dir():
                return path, path.stat().st_ino
        except OSError:
            continue
    return Path("/"), 0
