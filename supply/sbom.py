"""The bill of materials of a wheel of ours, in CycloneDX's form: each package of an installation, as it is locked.

It has the hashes of the lock, licences, and which package needs which. Of a package whose wheel says what was compiled
into it (PEP 770; `cryptography` brings OpenSSL) it has that, too. It is the same bytes whenever and wherever it is
made: its time is the release's, and its serial number is made of the wheel.
"""

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import msgspec
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

import gateway
from supply import licences
from supply.locks import Locked, normal

SUFFIX = ".cdx.json"
SERVER = {
    "implementation_name": "cpython", "os_name": "posix", "platform_machine": "x86_64", "platform_system": "Linux",
    "platform_python_implementation": "CPython", "python_full_version": "3.11.2", "python_version": "3.11",
    "sys_platform": "linux", "extra": "",
}  # fmt: skip
"""The machine that requirements are read for, whichever this one is."""


def written(wheel: Path, locked: tuple[Locked, ...], project: Any) -> str:
    """The bill of materials of a wheel, as JSON. `project`: the wheel's own metadata. Raises `licences.Unknown`."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    name, version = normal(project["Name"]), project["Version"]
    rules = licences.rules()
    whole = Component(
        name=name, version=version, type=ComponentType.APPLICATION, bom_ref=f"{name}@{version}",
        purl=PackageURL("pypi", name=name, version=version),
        licenses=[LicenseExpression(project["License-Expression"])],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )  # fmt: skip
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, digest),
        metadata=BomMetaData(
            component=whole,
            timestamp=dt.datetime.combine(dt.date.fromisoformat(gateway.__released__), dt.time(), dt.UTC),
        ),
    )
    found = {package.name: (package, _installed(package)) for package in locked}
    made = {each: _component(package, of, rules) for each, (package, of) in found.items()}
    bom.components.update(made.values())
    for each, (_, of) in found.items():
        bom.register_dependency(made[each], [made[other] for other in _needs(of.requires or ()) if other in made])
    bom.register_dependency(whole, [made[other] for other in _needs(project.get_all("Requires-Dist", []))])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _installed(package: Locked) -> Distribution:
    found = licences.installed(package)
    if found is None:
        raise licences.Unknown(f"{package.name} is locked, and not installed: make setup")
    return found


def _component(package: Locked, of: Distribution, rules: licences.Rules) -> Component:
    purl = PackageURL("pypi", name=package.name, version=package.version)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.sha256]
    return Component(
        name=package.name, version=package.version, bom_ref=f"{package.name}@{package.version}", purl=purl,
        licenses=[LicenseExpression(licences.licence_of(package.name, of.metadata, rules))],
        # a lock has the hash of each file that a package may be installed from: they are those files', not its own
        external_references=[
            ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(purl)), hashes=hashes)
        ],
        components=list(_compiled_in(package, of)),
    )  # fmt: skip


def _compiled_in(package: Locked, of: Distribution) -> Iterator[Component]:
    """What the package's own bills of materials say is in it. How it was built is left out: that differs by machine."""
    seen = set[tuple[str, str]]()
    for file in of.files or ():
        if ".dist-info/sboms/" not in str(file) or file.suffix != ".json":
            continue
        for raw in msgspec.json.decode(file.read_binary()).get("components", ()):
            name, version = raw["name"], raw.get("version", "")
            if (name, version) not in seen:
                seen.add((name, version))
                purl = PackageURL.from_string(raw["purl"]) if raw.get("purl") else None
                yield Component(
                    name=name, version=version or None, bom_ref=f"{package.name}@{package.version}#{name}@{version}",
                    purl=PackageURL(purl.type, purl.namespace, purl.name, purl.version) if purl else None,
                )  # fmt: skip


def _needs(requirements: Any) -> list[str]:
    """The packages that are required on a server, without any extra."""
    read = map(Requirement, requirements)
    return sorted({normal(each.name) for each in read if each.marker is None or each.marker.evaluate(SERVER)})
