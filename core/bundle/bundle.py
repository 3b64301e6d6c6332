"""The bundle: one artifact that holds everything a device needs to answer several tasks.

``NAME.graft`` is a zip whose members are stored, not compressed, or a folder with the same files once deployed::

    manifest.json          multigraft.bundle.manifest.Manifest, plus "digest": SHA-256 over the rest of it
    model.tflite           one flatbuffer: one subgraph and one signature per segment
    golden/inputs.npz      stored input tensors by name, first axis = case
    golden/outputs.npz     what each segment output has to be for them
    MODEL_CARD.md          for people
    plan.json, plan.npz    of a refit bundle
    fallback.tflite        another model of the same tasks, for where the first cannot run
    golden/fallback.npz    its golden outputs

Every file's size and SHA-256 stand in the manifest; a bundle with a missing, additional or differing file is refused,
as is one whose members are links, compressed, or called anything else. The manifest is read first, and of the others
no more than it says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from multigraft import files
from multigraft.archive import Archive
from multigraft.bundle.manifest import SPREAD, SPREAD_OF_FALLBACK, Fallback, FileEntry, Manifest, Task
from multigraft.bundle.unpacked_files import UnpackedFiles, read_in_folder, verified
from multigraft.errors import BundleError, InputError, UsageError
from multigraft.npz import FIXED_TIME
from multigraft.reading import UnreadableError, parse_json, printable, regular_file

MODEL = "model.tflite"
MANIFEST = "manifest.json"
GOLDEN_INPUTS = "golden/inputs.npz"
GOLDEN_OUTPUTS = "golden/outputs.npz"
MODEL_CARD = "MODEL_CARD.md"
FALLBACK = "fallback.tflite"
FALLBACK_OUTPUTS = "golden/fallback.npz"

LARGEST: dict[str, int] = {
    MANIFEST: 4 << 20,
    MODEL: 512 << 20,
    GOLDEN_INPUTS: 256 << 20,
    GOLDEN_OUTPUTS: 256 << 20,
    MODEL_CARD: 1 << 20,
    "plan.json": 4 << 20,
    "plan.npz": 512 << 20,
    FALLBACK: 512 << 20,
    FALLBACK_OUTPUTS: 256 << 20,
}
"""What a bundle may hold, and bytes of it."""
_MOST_MEMBERS = 64


class Bundle:
    """A verified bundle: read into memory, or of a deployed folder, whose files are read when they are asked for.

    Use :meth:`open` and :meth:`write`; the constructor takes parts that are already consistent.

    Attributes:
        manifest: The parsed manifest.
        path: Where it was opened from, or None.
    """

    def __init__(self, manifest: Manifest, contents: Mapping[str, bytes], path: Path | None = None) -> None:
        self.manifest = manifest
        self.path = path
        self._contents = contents if isinstance(contents, UnpackedFiles) else dict(contents)

    @property
    def model(self) -> bytes:
        """The .tflite flatbuffer.

        Raises:
            BundleError: The bundle holds none.
        """
        return self.read(MODEL)

    @property
    def model_path(self) -> Path | None:
        """Where the flatbuffer lies as a file of its own, which can be mapped; None in memory or in a .graft file."""
        return self._contents.path_of(MODEL) if isinstance(self._contents, UnpackedFiles) else None

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
        entries = {name: FileEntry(files.sha256_of(data), len(data)) for name, data in sorted(contents.items())}
        return cls(dataclasses.replace(manifest, files=entries), contents)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a .graft file or a deployed folder and verify every digest.

        Raises:
            BundleError: It is not there, not a bundle, truncated, or a digest differs.
        """
        path = Path(path)
        shown = printable(str(path))
        is_folder = path.is_dir()
        return cls._of(_open_folder(path) if is_folder else _open_zip(path), shown, path, is_folder)

    @classmethod
    def from_bytes(cls, data: bytes, shown: str) -> Self:
        """The bundle that a .graft file's content is, verified as :meth:`open` does; ``shown`` names it in errors.

        Raises:
            BundleError: It is not a bundle, truncated, or a digest differs.
        """
        return cls._of(_open_bytes(data, shown), shown, None)

    @classmethod
    def _of(
        cls,
        opened: contextlib.AbstractContextManager[_Opened],
        shown: str,
        path: Path | None,
        is_folder: bool = False,
    ) -> Self:
        with opened as (sizes, read):
            if unknown := sorted(set(sizes) - LARGEST.keys()):
                raise BundleError(
                    f"{shown} holds {printable(unknown[0])}, which its manifest does not name", "build the bundle again"
                )
            for name, size in sizes.items():
                if size > LARGEST[name]:
                    raise BundleError(
                        f"{shown}: {name} has {size} bytes and may have {LARGEST[name]}", "build a smaller bundle"
                    )
            if MANIFEST not in sizes:
                raise BundleError(f"{shown} holds no {MANIFEST}", "point to a .graft file that multigraft build wrote")
            manifest = _read_manifest(read(MANIFEST), f"{shown}: {MANIFEST}")
            contents: Mapping[str, bytes]
            if is_folder and path is not None:
                # A link that is switched later leads to other files.
                contents = UnpackedFiles(path.resolve(), manifest.files, shown)
                for name in contents:
                    contents[name]
            else:
                contents = {
                    name: verified(shown, name, entry, sizes.get(name, -1), functools.partial(read, name))
                    for name, entry in manifest.files.items()
                }
            if extra := sorted(set(sizes) - set(contents) - {MANIFEST}):
                raise BundleError(
                    f"{shown} holds {extra[0]}, which its manifest does not name", "build the bundle again"
                )
        return cls(manifest, contents, path)

    def fallback(self) -> Bundle | None:
        """The bundle as it is when its fallback runs in place of its first model; None where it has none.

        Raises:
            BundleError: Its files are not there.
        """
        if self.manifest.fallback is None:
            return None
        called = {MODEL: FALLBACK, GOLDEN_OUTPUTS: FALLBACK_OUTPUTS}
        entries = dict(self.manifest.files)
        for name, there in called.items():
            self.read(there)
            entries[name] = entries.pop(there)
        manifest = dataclasses.replace(self.manifest.of_fallback(self.manifest.fallback), files=entries)
        if isinstance(self._contents, UnpackedFiles):
            unpacked = UnpackedFiles(self._contents.folder, entries, self._contents.shown, called)
            return Bundle(manifest, unpacked, self.path)
        return Bundle(manifest, {name: self._contents[called.get(name, name)] for name in entries}, self.path)

    def with_fallback(self, other: Bundle) -> Bundle:
        """The same bundle, in memory, with another's model as its fallback.

        Args:
            other: A bundle of the same tasks, with the same inputs, outputs and golden inputs.

        Raises:
            BundleError: The two do not fit each other.
        """
        mine, its = self.manifest, other.manifest
        fallback = Fallback(its.segments, its.tensors)
        provenance = dict(mine.provenance)
        if SPREAD in its.provenance:
            provenance[SPREAD_OF_FALLBACK] = its.provenance[SPREAD]
        manifest = dataclasses.replace(mine, fallback=fallback, provenance=provenance)
        remedy = "build both of the same networks and frames, with the same multigraft"
        if mine.inputs != its.inputs or mine.provenance.get("golden") != its.provenance.get("golden"):
            raise BundleError(f"{its.name} has other inputs than {mine.name}, or was tried elsewhere", remedy)
        if self.read(GOLDEN_INPUTS) != other.read(GOLDEN_INPUTS):
            raise BundleError(f"{its.name} has other golden inputs than {mine.name}", remedy)
        try:
            Manifest.from_json(manifest.to_json(), its.name)
        except BundleError as error:
            raise BundleError(f"{its.name} is no fallback of {mine.name}: {error.problem}", remedy) from error
        contents = {name: self.read(name) for name in mine.files}
        contents |= {FALLBACK: other.model, FALLBACK_OUTPUTS: other.read(GOLDEN_OUTPUTS)}
        return Bundle.create(manifest, contents)

    def with_tasks(self, tasks: Iterable[Task]) -> Bundle:
        """The same bundle, in memory, whose manifest says these of its tasks."""
        contents = {name: self.read(name) for name in self.manifest.files}
        return Bundle.create(dataclasses.replace(self.manifest, tasks=tuple(tasks)), contents)

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
        for name in self._contents:
            if name not in LARGEST:
                raise BundleError(f"{self.manifest.name} holds {name}, which is no part of a bundle", "build it again")
        if folder.exists():
            raise UsageError(f"{folder} exists already", "name a new folder")
        with files.new_folder(folder) as temporary:
            for name, data in [*self._contents.items(), (MANIFEST, self._manifest_bytes())]:
                member = temporary / name
                member.parent.mkdir(parents=True, exist_ok=True)
                files.write_bytes(member, data)
        return folder

    def _manifest_bytes(self) -> bytes:
        data = self.manifest.to_json()
        data["digest"] = _digest(data)
        return json.dumps(data, indent=1, sort_keys=True).encode() + b"\n"


def _digest(data: dict[str, object]) -> str:
    rest = {key: value for key, value in data.items() if key != "digest"}
    return files.sha256_of(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


_Opened = tuple[Mapping[str, int], Callable[[str], bytes]]
"""Name to size, and what reads a name."""


def _read_manifest(raw: bytes, where: str) -> Manifest:
    try:
        data = parse_json(raw)
    except UnreadableError as error:
        raise BundleError(f"{where} is not JSON ({error})", "build the bundle again") from error
    manifest = Manifest.from_json(data, where)
    if data.get("digest") != _digest(data):
        raise BundleError(f"{where} was edited after it was built: its digest differs", "build the bundle again")
    return manifest


@contextlib.contextmanager
def _open_folder(path: Path) -> Iterator[_Opened]:
    shown = printable(str(path))
    sizes: dict[str, int] = {}
    try:
        for entry in _entries(path):
            name = os.path.relpath(entry.path, path)
            if not entry.is_file(follow_symlinks=False):
                raise BundleError(f"{shown}: {printable(name)} is no regular file", "copy the bundle again")
            sizes[name] = entry.stat(follow_symlinks=False).st_size
    except OSError as error:
        raise BundleError(f"{shown} cannot be read: {error.strerror}", "check its permissions") from error
    yield sizes, lambda name: read_in_folder(path / name, sizes[name])


def _entries(path: Path, inner: str = "golden") -> Iterator[os.DirEntry[str]]:
    """What lies in a folder and in the one below it that a bundle has, up to a number of files that none has."""
    with os.scandir(path) as entries:
        for number, entry in enumerate(entries):
            if number == _MOST_MEMBERS:
                raise BundleError(f"{printable(str(path))} holds too many files", "point to a deployed bundle")
            if entry.name == inner and entry.is_dir(follow_symlinks=False):
                yield from _entries(Path(entry.path), "")
            else:
                yield entry


@contextlib.contextmanager
def _open_zip(path: Path) -> Iterator[_Opened]:
    try:
        with regular_file(path) as file, Archive(file, lambda name: True, _MOST_MEMBERS) as archive:
            yield archive.sizes, archive.read
    except InputError as error:
        raise BundleError(error.problem, error.remedy) from error
    except UnreadableError as error:
        raise _not_whole(printable(str(path)), error) from error


@contextlib.contextmanager
def _open_bytes(data: bytes, shown: str) -> Iterator[_Opened]:
    try:
        with Archive(data, lambda name: True, _MOST_MEMBERS) as archive:
            yield archive.sizes, archive.read
    except UnreadableError as error:
        raise _not_whole(shown, error) from error


def _not_whole(shown: str, error: UnreadableError) -> BundleError:
    return BundleError(f"{shown} is not a whole .graft file ({error})", "copy it again or build it again")
