"""What a release is deployed as: by which way, the image by its digest, and the name of its endpoint."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WAYS = ("webhook", "kubectl")
CANNOT = 1


class NotDeployable(Exception):
    """What was asked for cannot be deployed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is deployed where.

    Attributes:
        way: ``webhook`` or ``kubectl``.
        image: ``REGISTRY/NAME@sha256:…``: a tag can be moved on the way.
        endpoint: the name of the data set's Deployment in Kubernetes.
    """

    way: str
    image: str
    endpoint: str


def main() -> int:
    """Write the plan, or that nothing is deployed, ``name=value`` a line; return 1 when it cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--by", required=True, help=f"{' or '.join(WAYS)}; empty: nothing is deployed")
    parser.add_argument("--repository", required=True, help="registry and folder that the hosts pull from")
    parser.add_argument("--shipped", action="append", default=[], metavar="REGISTRY/NAME@DIGEST")
    parser.add_argument("--summary", type=Path, help="appended to")
    asked = parser.parse_args()
    try:
        plan = make_plan(asked.dataset, asked.by, asked.repository, asked.shipped)
    except NotDeployable as err:
        sys.stderr.write(f"deploying {asked.dataset}: {err}\n")
        return CANNOT
    if plan is None:
        sys.stdout.write("undone=DEPLOY_BY is not set\n")
        told = (
            "**Nothing is deployed**: DEPLOY_BY is not set. The image is in the registry, and no host has it."
        )
    else:
        sys.stdout.write(f"way={plan.way}\nimage={plan.image}\nendpoint={plan.endpoint}\n")
        told = f"To be deployed by {plan.way}: `{plan.image}`"
    if asked.summary is not None:
        with asked.summary.open("a", encoding="utf-8") as file:
            file.write(f"{told}\n\n")
    return 0


def make_plan(dataset: str, way: str, repository: str, shipped: Sequence[str]) -> Plan | None:
    """Return what is deployed; None when no way is set.

    Args:
        dataset: whose endpoint it is.
        way: one of ``WAYS``, or empty.
        repository: that the hosts pull from, such as ``ghcr.io/someone``.
        shipped: the image as each registry has it; an empty one is a registry that was not asked.

    Raises:
        NotDeployable: the way is misspelt, or no registry that the hosts pull from has the image.
    """
    if not way:
        return None
    if way not in WAYS:
        raise NotDeployable(f"DEPLOY_BY is {way!r}: neither {' nor '.join(WAYS)}. Nothing was deployed.")
    references = [one for one in shipped if one]
    wanted = re.compile(rf"{re.escape(repository.rstrip('/').lower())}/[a-z0-9._-]+@sha256:[0-9a-f]{{64}}")
    found = [one for one in references if wanted.fullmatch(one)]
    if not repository or len(found) != 1:
        raise NotDeployable(
            f"DEPLOY_REPOSITORY is {repository!r}, and the image was shipped to "
            f"{', '.join(references) or 'nowhere'}. Set it to the part before the name of one of these."
        )
    return Plan(way, found[0], f"endpoint-{dataset.replace('_', '-')}")


if __name__ == "__main__":
    sys.exit(main())
