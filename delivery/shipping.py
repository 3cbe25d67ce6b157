"""An image shipped to a registry under three names: digest, commit and version. One step for all."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

CANNOT = 1
# What may ship without being asked twice; a run by hand ships only when it says that it is no rehearsal.
AUTOMATIC = ("schedule",)


class NotShipped(Exception):
    """The registry did not take the image, or has another one."""


def main() -> int:
    """Return 0 when the registry has the image under its three names, or it was rehearsed; else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", help="the engine's own name of it, hedonic-<data set>:<digest>")
    parser.add_argument("repository", help="REGISTRY/NAME, without a tag")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--version", required=True, help="the how many-th champion of its data set it is")
    parser.add_argument("--docker", default="docker")
    parser.add_argument("--event", required=True, help="what started the workflow")
    parser.add_argument("--debug", default="", help="what a run by hand said to debug; only false ships")
    parser.add_argument("--told-as", default="reference", help="the output that names it in the registry")
    asked = parser.parse_args()
    try:
        names = names_of(asked.image, asked.repository, asked.commit, asked.version)
        if is_rehearsal(asked.event, asked.debug):
            sys.stderr.write("".join(f"would push {name}\n" for name in names))
            sys.stdout.write("rehearsal=true\n")
            return 0
        digest = ship(asked.docker, asked.image, names)
    except NotShipped as err:
        sys.stderr.write(f"shipping {asked.image}: {err}\n")
        return CANNOT
    sys.stdout.write(f"rehearsal=false\n{asked.told_as}={asked.repository}@{digest}\n")
    return 0


def is_rehearsal(event: str, debug: str) -> bool:
    """Return whether nothing may leave: a run by hand, unless it said ``false`` to debug in so many words."""
    return not (event in AUTOMATIC or (event == "workflow_dispatch" and debug == "false"))


def names_of(image: str, repository: str, commit: str, version: str) -> tuple[str, ...]:
    """Return the image's names in a registry: by digest, commit and version.

    Raises:
        NotShipped: one of them cannot be made.
    """
    digest = image.partition(":")[2]
    problems = []
    if not re.fullmatch(r"[0-9a-f]{16}", digest):
        problems.append(f"{image}: its tag is not the 16 digits of a bento's digest")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        problems.append(f"{commit!r}: not a commit (a dirty tree's image is not shipped)")
    if not re.fullmatch(r"[0-9]+", version):
        problems.append(f"{version!r}: not a model version")
    if not re.fullmatch(r"[\w.-]+(:\d+)?(/[a-z0-9._-]+)+", repository):
        problems.append(f"{repository}: not REGISTRY/NAME without a tag, in small letters")
    if problems:
        raise NotShipped("; ".join(problems))
    return tuple(f"{repository}:{tag}" for tag in (digest, commit, f"v{version}"))


def ship(docker: str, image: str, names: Sequence[str]) -> str:
    """Return the digest that the registry gave the image, the same under every name.

    A version is one image for good: the last name, the version's, is never moved to another.

    Raises:
        NotShipped: a push failed, the digests differ, or the version is another image's already.
    """
    digests: dict[str, str] = {}
    for name in names:
        if name == names[-1]:
            _require_free(docker, name, digests)
        _run(docker, "tag", image, name)
        said = _run(docker, "push", name)
        found = re.findall(r"digest: (sha256:[0-9a-f]{64})", said)
        if len(found) != 1:
            raise NotShipped(f"{name}: the push told no digest: {said[-300:]}")
        digests[name] = found[0]
    if len(set(digests.values())) != 1:
        raise NotShipped(f"the registry holds different images under its names: {digests}")
    return digests[names[0]]


def _require_free(docker: str, name: str, digests: Mapping[str, str]) -> None:
    """Refuse a name under which the registry has another image than the one just pushed."""
    held = held_digest(docker, name)
    if held is not None and held not in digests.values():
        raise NotShipped(
            f"{name}: is {held} already, and a version is never moved. Pushed just now: "
            f"{', '.join(f'{other} as {digest}' for other, digest in digests.items()) or 'nothing'}."
        )


def held_digest(docker: str, name: str) -> str | None:
    """Return the digest that a registry has under a name, None when it says that there is none.

    Raises:
        NotShipped: nobody can tell.
    """
    command = [docker, "buildx", "imagetools", "inspect", name, "--format", "{{.Manifest.Digest}}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode and done.stderr.strip().endswith(f"{name}: not found"):
        return None
    told = done.stdout.strip()
    if done.returncode or not re.fullmatch(r"sha256:[0-9a-f]{64}", told):
        raise NotShipped(f"{name}: is it taken? Nobody can tell: {(done.stderr.strip() or told)[-600:]}")
    return told


def _run(docker: str, *arguments: str) -> str:
    done = subprocess.run([docker, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotShipped(
            f"{docker} {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-600:]}"
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
