"""The components of a variant as a CycloneDX bill of materials, which scanners for advisories read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arena_py import __version__
from arena_py.footprint.document import Component, Entry

if TYPE_CHECKING:
    from cyclonedx.model.license import License

SUFFIX = ".cdx.json"


def file_name(label: str) -> str:
    """The file of a variant."""
    return label.replace(":", "-") + SUFFIX


def document(entry: Entry) -> str:
    """The bill of an entry: CycloneDX 1.6, JSON.

    Each component is known by its package URL (`pkg:cargo/...`, `pkg:pypi/...`); of crates there is the hash that the
    lock holds. Licences are those that the packages state.
    """
    from cyclonedx.model import HashAlgorithm, HashType  # noqa: PLC0415 (slow: only where a bill is written)
    from cyclonedx.model.bom import Bom  # noqa: PLC0415
    from cyclonedx.model.component import Component as Part  # noqa: PLC0415
    from cyclonedx.model.component import ComponentType  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    def part(component: Component) -> Part:
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=component.sha256)] if component.sha256 else []
        return Part(
            name=component.name,
            version=component.version,
            type=ComponentType.LIBRARY,
            bom_ref=component.purl,
            purl=PackageURL.from_string(component.purl),
            licenses=_licences(component.licence),
            hashes=hashes,
        )

    root = Part(name=entry.label, version=entry.version, type=ComponentType.APPLICATION, bom_ref=entry.label)
    parts = {component.purl: part(component) for component in entry.components}
    tool = Part(name="arena-py", version=__version__, type=ComponentType.APPLICATION)
    bom = Bom(components=parts.values())
    bom.metadata.component = root
    bom.metadata.tools.components.add(tool)
    needed = {each for component in entry.components for each in component.needs}
    bom.register_dependency(root, [found for purl, found in parts.items() if purl not in needed])
    for component in entry.components:
        bom.register_dependency(parts[component.purl], [parts[each] for each in component.needs if each in parts])
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _licences(stated: str | None) -> list[License]:
    from cyclonedx.contrib.license.factories import LicenseFactory  # noqa: PLC0415 (as above)

    return [LicenseFactory().make_from_string(stated)] if stated else []
