"""The bundle: one artifact that holds everything a device needs to answer several tasks.

``NAME.graft`` is a zip whose members are stored, not compressed, or a folder with the same files once deployed::

    manifest.json          multigraft.bundle.manifest.Manifest, plus "digest": SHA-256 over the rest of it
    model.tflite           one flatbuffer: one subgraph and one signature per segment
    golden/inputs.npz      stored input tensors by name, first axis = case
    golden/outputs.npz     what each segment output has to be for them
    MODEL_CARD.md          for people

Every file's size and SHA-256 stand in the manifest; a bundle with a missing, additional or differing file is refused.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from multigraft import files
from multigraft.bundle.manifest import FileEntry, Manifest
from multigraft.errors import BundleError, UsageError
from multigraft.npz import FIXED_TIME

MODEL = "model.tflite"
MANIFEST = "manifest.json"
GOLDEN_INPUTS = "golden/inputs.npz"
GOLDEN_OUTPUTS = "golden/outputs.npz"
MODEL_CARD = "MODEL_CARD.md"


class Bundle:
    """A verified bundle, read into memory.

    Use :meth:`open` and :meth:`write`; the constructor takes parts that are already consistent.

    Attributes:
        manifest: The parsed manifest.
        path: Where it was opened from, or None.
    """

    def __init__(self, manifest: Manifest, contents: Mapping[str, bytes], path: Path | None = None) -> None:
        self.manifest = manifest
        self.path = path
        self._contents = dict(contents)

    @property
    def model(self) -> bytes:
        """The .tflite flatbuffer."""
        return self._contents[MODEL]

    def read(self, name: str) -> bytes:
        """The bytes of one file of the bundle.

        Raises:
            BundleError: There is no such file.
        """
        try:
            return self._contents[name]
        except KeyError:
            raise BundleError(f"{self.path or self.manifest.name} holds no {name}", "build the bundle again") from None

    @classmethod
    def create(cls, manifest: Manifest, contents: Mapping[str, bytes]) -> Self:
        """Make a bundle from a manifest (whose ``files`` are filled in here) and its files."""
        import dataclasses

        entries = {name: FileEntry(files.sha256_of(data), len(data)) for name, data in sorted(contents.items())}
        return cls(dataclasses.replace(manifest, files=entries), contents)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a .graft file or a deployed folder and verify every digest.

        Raises:
            BundleError: It is not there, not a bundle, truncated, or a digest differs.
        """
        path = Path(path)
        contents = _read_folder(path) if path.is_dir() else _read_zip(path)
        if MANIFEST not in contents:
            raise BundleError(f"{path} holds no {MANIFEST}", "point to a .graft file that multigraft build wrote")
        raw = contents.pop(MANIFEST)
        try:
            data = json.loads(raw)
        except ValueError as error:
            raise BundleError(f"{path}: {MANIFEST} is not JSON ({error})", "build the bundle again") from error
        where = f"{path}: {MANIFEST}"
        manifest = Manifest.from_json(data, where)
        if data.get("digest") != _digest(data):
            raise BundleError(f"{where} was edited after it was built: its digest differs", "build the bundle again")
        for name, entry in manifest.files.items():
            if name not in contents:
                raise BundleError(f"{path} lacks {name}", "copy it again or build it again")
            content = contents[name]
            if len(content) != entry.size or files.sha256_of(content) != entry.sha256:
                raise BundleError(
                    f"{path}: {name} is not what was built: {len(content)} bytes with another SHA-256 digest",
                    "copy the bundle again or build it again",
                )
        if extra := sorted(set(contents) - set(manifest.files)):
            raise BundleError(f"{path} holds {extra[0]}, which its manifest does not name", "build the bundle again")
        return cls(manifest, contents, path)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the bundle as one .graft file, whole or not at all; equal bundles give equal bytes."""
        path = Path(path)
        with files.whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, data in [(MANIFEST, self._manifest_bytes()), *sorted(self._contents.items())]:
                archive.writestr(zipfile.ZipInfo(name, FIXED_TIME), data)
        self.path = path
        return path

    def deploy(self, folder: str | os.PathLike[str]) -> Path:
        """Unpack into ``folder``, which must not exist yet; it appears whole or not at all."""
        folder = Path(folder)
        if folder.exists():
            raise UsageError(f"{folder} exists already", "name a new folder")
        try:
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        except OSError as error:
            raise UsageError(f"{folder} cannot be made: {error.strerror}", "choose another folder") from error
        try:
            for name, data in [*self._contents.items(), (MANIFEST, self._manifest_bytes())]:
                member = temporary / name
                member.parent.mkdir(parents=True, exist_ok=True)
                files.write_bytes(member, data)
            temporary.chmod(0o755)
            temporary.rename(folder)
            files.sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def _manifest_bytes(self) -> bytes:
        data = self.manifest.to_json()
        data["digest"] = _digest(data)
        return json.dumps(data, indent=1, sort_keys=True).encode() + b"\n"


def _digest(data: dict[str, object]) -> str:
    rest = {key: value for key, value in data.items() if key != "digest"}
    return files.sha256_of(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def _read_folder(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            # A cut file can end in a golden .npz, a zip of its own, which zipfile would open in place of the bundle.
            if min((info.header_offset for info in archive.infolist()), default=0) != 0:
                raise zipfile.BadZipFile("its end is missing")
            return {info.filename: archive.read(info) for info in archive.infolist()}
    except FileNotFoundError:
        raise BundleError(f"{path} does not exist", "check the path") from None
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{path} is not a whole .graft file ({error})", "copy it again or build it again") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}", "check the path and its permissions") from error
