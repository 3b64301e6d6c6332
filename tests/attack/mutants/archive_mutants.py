"""Mutants of bundles and statistics, most with digests that fit: what a digest stops is seldom worth a try."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from multigraft.files import sha256_of
from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.pieces import VALUES, Contents, packed, places, scrambled, unpacked


class ArchiveMutator(Mutator):
    """Makes mutants of one archive with a ``manifest.json``."""

    def __init__(self, data: bytes, seed: int = 0) -> None:
        super().__init__(data, seed)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            self._members = {info.filename: archive.read(info) for info in archive.infolist()}
            self._methods = {info.filename: info.compress_type for info in archive.infolist()}
        self._ways: tuple[Callable[[], bytes], ...] = (
            self._manifest, self._manifest, self._manifest, self._member, self._member, self._names, self._bytes,
        )  # fmt: skip

    def mutant(self) -> bytes:
        """The next one."""
        return self._random.choice(self._ways)()

    def _bytes(self) -> bytes:
        return scrambled(self._data, self._random)

    def _manifest(self) -> bytes:
        manifest = json.loads(self._members["manifest.json"])
        for _ in range(self._random.choice((1, 1, 2))):
            self._change(manifest)
        return self._packed({**self._members}, manifest)

    def _member(self) -> bytes:
        name = self._random.choice([n for n in self._members if n != "manifest.json"])
        content = self._members[name]
        if name.endswith(".npz") and self._random.random() < 0.7:
            content = self._array(content)
        elif name.endswith(".json") and self._random.random() < 0.9:
            value = json.loads(content)
            self._change(value)
            content = json.dumps(value).encode()
        else:
            content = scrambled(content, self._random)
        return self._packed({**self._members, name: content}, json.loads(self._members["manifest.json"]))

    def _array(self, content: bytes) -> bytes:
        """One array of an .npz file, changed before it is packed."""
        arrays = unpacked(content)
        if not arrays:
            return content
        name = self._random.choice(list(arrays))
        if self._random.random() < 0.2:
            del arrays[name]
        else:
            # The header is where arrays differ most from what is expected.
            size = self._random.choice((96, len(arrays[name])))
            arrays[name] = scrambled(arrays[name][:size], self._random) + arrays[name][size:]
        return packed(arrays)

    def _names(self) -> bytes:
        members = {**self._members}
        name = self._random.choice(list(members))
        content = members.pop(name)
        if self._random.random() < 0.6:
            members[self._random.choice(("../x", "/x", "manifest.json", "golden/../x", "x", "place-9.npz"))] = content
        return self._packed(members, json.loads(self._members["manifest.json"]))

    def _change(self, value: Any) -> None:
        """One place within parsed JSON, at any depth."""
        found = places(value)
        holder, key = self._random.choice(found)
        way = self._random.random()
        if way < 0.15:
            del holder[key]
        elif way < 0.3:
            other, place = self._random.choice(found)
            # A copy: a place within itself would be a circle.
            holder[key] = copy.deepcopy(other.get(place) if isinstance(other, dict) else next(iter(other), None))
        else:
            holder[key] = self._random.choice(VALUES)

    def _packed(self, members: Contents, manifest: Any) -> bytes:
        files = manifest.get("files") if isinstance(manifest, dict) else None
        if isinstance(files, dict):
            for name, content in members.items():
                if name != "manifest.json" and self._random.random() < 0.97:
                    files[name] = {"sha256": sha256_of(content), "size": len(content)}
        rest = {key: value for key, value in manifest.items() if key != "digest"}
        rest["digest"] = sha256_of(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())
        if "manifest.json" in members:
            members = {**members, "manifest.json": json.dumps(rest).encode()}
        return packed(members, self._methods)
