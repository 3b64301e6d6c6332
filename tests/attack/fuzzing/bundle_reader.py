"""A bundle: opened, its golden files and answers read, without an interpreter.

An input begins with a byte. 0: the file as it is. Else the members one after the other, whose sizes and digests are put
into the manifest before they are packed: what a digest stops is seldom worth a try.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, Bundle
from multigraft.errors import MultigraftError
from multigraft.files import sha256_of
from multigraft.npz import read_npz
from multigraft.refit.refit_plan import RefitPlan
from multigraft.tflite.checking.check import check_tflite
from tests.attack.mutants.pieces import packed

BETWEEN = b"\n--next--\n"
MANIFEST, MODEL, CARD = "manifest.json", "model.tflite", "MODEL_CARD.md"
NAMES = (MANIFEST, MODEL, GOLDEN_INPUTS, GOLDEN_OUTPUTS, CARD, "plan.json", "plan.npz")


def seeds() -> dict[str, bytes]:
    """A small bundle as a file and as members; one with heads of other kinds; one whose tasks stand on one another."""
    from tests.bundle_builder import build

    made = {}
    for name, heads in {
        "one": (("g", "classification"),), "kinds": (("s", "segmentation"), ("o", "other")),
    }.items():  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = build(heads, size=(8, 8, 1), width=2).bundle.write(Path(folder) / "a.graft")  # type: ignore[arg-type]
            whole = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            members = {n: archive.read(n) for n in archive.namelist()}
        made[f"{name} file"] = b"\0" + whole
        made[name] = b"\1" + BETWEEN.join(members.get(n, b"") for n in NAMES).rstrip()
    made["standing"] = with_tasks(made["kinds"], s={}, o={"donor": "s"}, p={"donor": "s", "branch": "o"})
    return made


def with_tasks(data: bytes, **stands: Mapping[str, str]) -> bytes:
    """An input of members with these tasks in the place of its own, the first of which they are like otherwise."""
    first, *others = data[1:].split(BETWEEN)
    manifest = json.loads(first)
    like = manifest["tasks"][0]
    manifest["tasks"] = [{**like, "name": name, **on} for name, on in stands.items()]
    return b"\1" + BETWEEN.join([json.dumps(manifest).encode(), *others])


def fitted(data: bytes) -> bytes:
    """The archive of an input; its manifest fits wherever it is one."""
    if data[:1] == b"\0":
        return data[1:]
    members = {n: content for n, content in zip(NAMES, data[1:].split(BETWEEN), strict=False) if content}
    try:
        manifest = json.loads(members[MANIFEST])
        files = manifest["files"]
        for name, content in members.items():
            if name != MANIFEST and (name in files or name.startswith("plan")):
                files[name] = {"sha256": sha256_of(content), "size": len(content)}
        manifest.pop("digest", None)
        manifest["digest"] = sha256_of(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())
        members[MANIFEST] = json.dumps(manifest).encode()
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        pass
    return packed(members)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def run(data: bytes) -> None:
    """Open it and read whatever is in it."""
    path = Path(_folder().name) / "a.graft"
    path.write_bytes(fitted(data))
    bundle = Bundle.open(path)
    for name in (GOLDEN_INPUTS, GOLDEN_OUTPUTS):
        # What the self-test turns into a sentence.
        with contextlib.suppress(ValueError):
            read_npz(bundle.read(name))
    if "plan.json" in bundle.manifest.files:
        with contextlib.suppress(MultigraftError):
            RefitPlan.of(bundle)
    check_tflite(bundle.model, "the model")
