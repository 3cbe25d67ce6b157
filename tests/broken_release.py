"""Releases with a fault in them, and a process of its own that is asked to serve one."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hedonic.errors import ReleaseRefused
from hedonic.model.manifest import MANIFEST, RECORD, Manifest, digest_files
from hedonic.serving.predictor import load_release

MIB = 2**20
ROOM_MIB = 512
CPU_S = 20

_NUMBERS = (b"-1", b"0", b"99999999", b"2147483648", b"-9223372036854775809", b"1e308", b"9" * 400)

Damage = Callable[[bytes, random.Random], bytes]


def truncated(content: bytes, rng: random.Random) -> bytes:
    """Return the content without its end."""
    return content[: rng.randrange(len(content))]


def with_a_flipped_bit(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one bit changed."""
    changed, position = bytearray(content), rng.randrange(len(content))
    changed[position] ^= 1 << rng.randrange(8)
    return bytes(changed)


def with_a_hole(content: bytes, rng: random.Random) -> bytes:
    """Return the content with a page of zeros, as a file system leaves after a crash."""
    start = rng.randrange(len(content))
    return content[:start] + bytes(min(4096, len(content) - start)) + content[start + 4096 :]


def with_another_number(content: bytes, rng: random.Random) -> bytes:
    """Return text with one of its digits replaced by a number that is out of all proportion."""
    digits = [position for position, byte in enumerate(content) if 48 <= byte <= 57]
    if not digits:
        return with_a_flipped_bit(content, rng)
    at = rng.choice(digits)
    return content[:at] + rng.choice(_NUMBERS) + content[at + 1 :]


def with_a_line_twice(content: bytes, rng: random.Random) -> bytes:
    """Return text with one of its lines repeated, or dropped."""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at : at + 1] = rng.choice([[], [lines[at]] * 2, [b"", lines[at]], [b" " + lines[at]]])
    return b"\n".join(lines)


DAMAGES: tuple[Damage, ...] = (truncated, with_a_flipped_bit)
FAULTS: tuple[Damage, ...] = (*DAMAGES, with_a_hole, with_another_number, with_a_line_twice)


def files_of(folder: Path) -> list[Path]:
    """Return every file of a release but what is outside its digest."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)


def resealed(folder: Path) -> Path:
    """Return the folder under the digest that it has now: its manifest vouches for what is in it."""
    content = json.loads((folder / MANIFEST).read_bytes())
    manifest = Manifest(**{**content, "files": digest_files(folder)})
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    return folder.rename(folder.parent / manifest.digest)


def copied(release: Path, home: Path) -> Path:
    """Return a copy of a release below ``home``, an empty folder for it alone."""
    shutil.rmtree(home, ignore_errors=True)
    return Path(shutil.copytree(release, home / release.name))


@dataclass(frozen=True)
class Outcome:
    """How a process ended that was asked to serve a release.

    ``told`` is the refusal, or the last of an unexpected error; empty when every golden row was answered.
    """

    ended: str
    told: str
    seconds: float
    cpu_s: float


def served_in_a_process(folder: Path) -> Outcome:
    """Return what became of a process with little memory and time that loads, answers and explains."""
    readable, writable = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        os._exit(_serve(folder, writable))
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        told = pipe.read().decode(errors="replace")
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    ended = signal.Signals(-code).name if code < 0 else {0: "served", 1: "refused"}.get(code, "failed")
    return Outcome(ended, told, time.monotonic() - began, used.ru_utime + used.ru_stime)


def _serve(folder: Path, writable: int) -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + ROOM_MIB * MIB
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")  # pytest makes errors of them; a service prints them
    try:
        release = load_release(folder)
        rows = json.loads((folder / "golden.json").read_bytes())["instances"]
        release.explainer.explain(release.predictor.schema.check(rows[:3]).columns)
    except ReleaseRefused as err:
        os.write(writable, str(err).encode()[:4000])
        return 1
    except BaseException:  # noqa: BLE001 (the edge of this process
        os.write(writable, traceback.format_exc().encode()[-4000:])
        return 2
    return 0
