"""The bill of materials of an image: every package that is really in it, in CycloneDX."""

from __future__ import annotations

import json
import uuid
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from hedonic.images.engine import Engine, Image

# Run by the image's own Python: every distribution in any of its folders, and Debian's packages.
_LOOK = """
import glob, importlib.metadata as m, json, pathlib
homes = ('/opt/*', '/usr', '/usr/local')
folders = {p for home in homes for p in glob.glob(home + '/lib/python3*/*-packages')}
python = [(d.metadata['Name'], d.version, d.metadata['License-Expression'] or '')
          for d in m.distributions(path=sorted(folders))]
status = pathlib.Path('/var/lib/dpkg/status')
debian = []
for block in status.read_text().split('\\n\\n') if status.exists() else []:
    f = dict(l.split(': ', 1) for l in block.splitlines() if ': ' in l and not l.startswith(' '))
    if f.get('Status') == 'install ok installed':
        debian.append((f['Package'], f['Version'], f['Architecture']))
print(json.dumps({'python': python, 'debian': debian}))
"""


def write_bill(engine: Engine, image: Image) -> str:
    """Return the bill of materials of an image, as CycloneDX 1.6 JSON; the same for the same image."""
    found = json.loads(engine.output(image.name, ["python", "-I", "-c", _LOOK]))
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image.id))
    name, _, tag = image.name.partition(":")
    bom.metadata.component = Component(
        type=ComponentType.CONTAINER,
        name=name,
        version=tag,
        bom_ref=image.id,
        properties=[Property(name=key, value=value) for key, value in sorted(image.labels.items())],
    )
    bom.components.update(_python(*each) for each in found["python"])
    bom.components.update(_debian(*each) for each in found["debian"])
    bom.register_dependency(bom.metadata.component, bom.components)
    return str(JsonV1Dot6(bom).output_as_string(indent=1))


def _python(name: str, version: str, licence: str) -> Component:
    purl = PackageURL("pypi", None, name.lower().replace("_", "-"), version)
    return _component(name, version, purl, [LicenseFactory().make_from_string(licence)] if licence else [])


def _debian(name: str, version: str, architecture: str) -> Component:
    return _component(name, version, PackageURL("deb", "debian", name, version, {"arch": architecture}), [])


def _component(name: str, version: str, purl: PackageURL, licences: list[Any]) -> Component:
    return Component(
        type=ComponentType.LIBRARY, name=name, version=version, purl=purl, bom_ref=purl.to_string(),
        licenses=licences,
    )  # fmt: skip
