"""The bill of materials of a bundle: what software built it, as CycloneDX 1.6 (ECMA-424) in the manifest's provenance.

Of each package its name and version, and a digest as far as one is known: of the packages of the converter's own
environment those of the wheels that alone may be installed there, of the others a digest over what pip recorded of
their files. There is no time and no place in it, so that a build from the same software gives the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator
from typing import Any

import multigraft
from multigraft.converters.conversion.onnx2tf_environment import REQUIREMENTS, python_of_user

MOST_COMPONENTS = 256
"""Far more than there are; a manifest has bounds."""
FILES_DIGEST = "multigraft:files-sha256"
"""Name of the property: SHA-256 of the lines ``path,digest`` of a package's RECORD, sorted, without what an
installation adds."""
ENVIRONMENT = "multigraft:environment"
_OWN = "multigraft"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: \\\n +--hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)
_ADDED = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


def bill_of_materials(converter: str = "") -> dict[str, Any]:
    """A CycloneDX document.

    Args:
        converter: Version of onnx2tf; empty where nothing was converted.
    """
    components = [_runtime(), *_installed("torch" in sys.modules), *_converter(converter)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component(_OWN, multigraft.__version__, kind="application")},
        "components": components[:MOST_COMPONENTS],
    }


def _component(name: str, version: str, kind: str = "library", **more: Any) -> dict[str, Any]:
    plain = re.sub(r"[-_.]+", "-", name).lower()
    return {"type": kind, "name": plain, "version": version, "purl": f"pkg:pypi/{plain}@{version}", **more}


def _runtime() -> dict[str, Any]:
    name = platform.python_implementation()
    machine = [{"name": "multigraft:machine", "value": platform.machine()}]
    return {"type": "platform", "name": name, "version": platform.python_version(), "properties": machine}


@functools.cache
def _installed(with_torch: bool) -> tuple[dict[str, Any], ...]:
    """What multigraft needs to build, directly or through others, as far as it is installed here."""
    found: dict[str, importlib.metadata.Distribution] = {}
    extras = ("convert", "torch") if with_torch else ("convert",)
    wanted = list(_needs(_OWN, extras))
    while wanted:
        name = wanted.pop()
        if name in found or name == _OWN:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        wanted += _needs(name)
    return tuple(_described(name, found[name]) for name in sorted(found))


def _needs(name: str, extras: tuple[str, ...] = ()) -> Iterator[str]:
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if (extra is None or extra[1] in extras) and (match := _NAME.match(line)):
            yield re.sub(r"[-_.]+", "-", match[0]).lower()


def _described(name: str, distribution: importlib.metadata.Distribution) -> dict[str, Any]:
    digest = _files_digest(distribution)
    more: dict[str, Any] = {"properties": [{"name": FILES_DIGEST, "value": digest}]} if digest else {}
    return _component(name, distribution.version, **more)


def _files_digest(distribution: importlib.metadata.Distribution) -> str | None:
    """As :data:`FILES_DIGEST` says; scripts lie outside and name their interpreter, so that they are left out."""
    record = distribution.read_text("RECORD")
    rows = [row.rsplit(",", 2) for row in (record or "").splitlines()]
    lines = sorted(
        f"{row[0]},{row[1]}"
        for row in rows
        if len(row) == 3 and row[1] and not row[0].startswith(("..", "/")) and not row[0].endswith(_ADDED)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else None


def _converter(version: str) -> list[dict[str, Any]]:
    """The converter's own environment, whose wheels are pinned by digests; one that the user chose is not known."""
    where: dict[str, Any] = {"properties": [{"name": ENVIRONMENT, "value": "onnx2tf"}]}
    if not version or python_of_user():
        return [_component("onnx2tf", version, **where)] if version else []
    return [
        _component(
            name,
            pinned,
            hashes=[{"alg": "SHA-256", "content": digest} for digest in sorted(re.findall(r"[0-9a-f]{64}", hashes))],
            **where,
        )
        for name, pinned, hashes in _PINNED.findall(REQUIREMENTS.read_text("utf-8"))
    ]


def summarised(provenance: dict[str, Any]) -> dict[str, Any]:
    """Provenance for people: the bill by the number of its components."""
    if not isinstance(bill := provenance.get("sbom"), dict):
        return provenance
    return {**provenance, "sbom": f"CycloneDX, {len(bill.get('components', ()))} components"}
