"""What writes hostile files into the working folder."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from multigraft.files import sha256_of

LARGE = 300 << 20
"""More than a command may take here."""

Make = Callable[[Path], None]


def members(path: Path = Path("good.graft")) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path: str, content: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)


def sparse_zip(path: str, name: str, size: int) -> None:
    """A stored member of ``size`` zero bytes, of which the disk holds none."""
    raw = name.encode()
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, size, size, len(raw), 0) + raw
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, size, size, len(raw), 0, 0, 0, 0, 0, 0) + raw
    with Path(path).open("wb") as file:
        file.write(head)
        file.seek(size, os.SEEK_CUR)
        start = file.tell()
        file.write(entry + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), start, 0))


def large_deflated(path: str, name: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        for _ in range(LARGE >> 20):
            member.write(bytes(1 << 20))


def deflated_member(folder: Path) -> None:
    large_deflated("a.graft", "model.tflite")


def lying_member(folder: Path) -> None:
    """Says that it has ten bytes, and unpacks to 300 MB."""
    large_deflated("a.graft", "model.tflite")
    data = Path("a.graft").read_bytes().replace(struct.pack("<I", LARGE), struct.pack("<I", 10))
    Path("a.graft").write_bytes(data)


def linked_member(folder: Path) -> None:
    with zipfile.ZipFile("a.graft", "w") as archive:
        for name, data in members().items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16 if name == "model.tflite" else 0
            archive.writestr(info, data)


def named(name: str) -> Make:
    return lambda folder: zipped("a.graft", {**members(), name: b"evil"})


def twice(folder: Path) -> None:
    with pytest.warns(UserWarning), zipfile.ZipFile("a.graft", "w") as archive:
        for name, data in [*members().items(), ("model.tflite", b"")]:
            archive.writestr(zipfile.ZipInfo(name), data)


def overlapping(count: int) -> Make:
    """Entries of the directory that all lie at one place of the file."""

    def make(folder: Path) -> None:
        names = [f"place-{number}.npz".encode() for number in range(count)]
        content = zlib.compress(bytes(1 << 20))[2:-4]
        crc, size = zlib.crc32(bytes(1 << 20)), 1 << 20
        head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(content), size, len(names[0]), 0)
        body = head + names[0] + content
        directory = b"".join(
            struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, crc, len(content), size, len(n), *[0] * 6) + n
            for n in names
        )
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
        for name in ("a.graft", "a.mgstats"):
            Path(name).write_bytes(body + directory + end)

    return make


def link(name: str, target: str = "/dev/zero") -> Make:
    def make(folder: Path) -> None:
        Path(name).unlink(missing_ok=True)
        Path(name).symlink_to(target)

    return make


def pipe(name: str) -> Make:
    def make(folder: Path) -> None:
        Path(name).unlink(missing_ok=True)
        os.mkfifo(name)

    return make


def sparse(name: str, size: int = LARGE) -> Make:
    def make(folder: Path) -> None:
        Path(name).touch()
        os.truncate(name, size)

    return make


def manifest(change: Callable[[dict[str, Any]], object] | bytes) -> Make:
    """A bundle whose manifest is changed, with a digest that fits."""

    def make(folder: Path) -> None:
        content = members()
        if isinstance(change, bytes):
            content["manifest.json"] = change
        else:
            data = json.loads(content["manifest.json"])
            change(data)
            rest = {key: value for key, value in data.items() if key != "digest"}
            data["digest"] = sha256_of(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())
            content["manifest.json"] = json.dumps(data).encode()
        zipped("a.graft", content)

    return make


def replaced(name: str, data: bytes) -> Make:
    """A bundle with another file, whose size and digest its manifest has."""

    def make(folder: Path) -> None:
        content = {**members(), name: data}
        parsed = json.loads(content["manifest.json"])
        parsed["files"][name] = {"sha256": sha256_of(data), "size": len(data)}
        rest = {key: value for key, value in parsed.items() if key != "digest"}
        parsed["digest"] = sha256_of(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())
        zipped("a.graft", {**content, "manifest.json": json.dumps(parsed).encode()})

    return make


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def npz(**arrays: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data)
    return target.getvalue()


def golden(array: bytes) -> Make:
    return replaced("golden/inputs.npz", npz(image=array))


def picture(name: str, width: int, height: int) -> Make:
    def make(folder: Path) -> None:
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        rows = zlib.compress(bytes(1 << 20))
        parts = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)) + chunk(b"IDAT", rows)
        Path(name).write_bytes(b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b""))

    return make


def postscript(folder: Path) -> None:
    Path("a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touched) (w) file closefile\n")


def written(name: str, data: bytes) -> Make:
    def make(folder: Path) -> None:
        Path(name).write_bytes(data)

    return make


def settings(text: str) -> Make:
    return written("multigraft.toml", text.encode())


def onnx_functions(depth: int, recursive: bool = False) -> Make:
    def make(folder: Path) -> None:
        functions = []
        for level in range(depth):
            called = f"f{level + 1}" if level + 1 < depth else "f0" if recursive else "Relu"
            domain = "" if called == "Relu" else "local"
            nodes = [helper.make_node(called, [a], [b], domain=domain) for a, b in (("x", "t"), ("t", "y"))]
            sets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
            functions.append(helper.make_function("local", f"f{level}", ["x"], ["y"], nodes, sets))
        edges = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, 8, 8]) for n in "xy"]
        graph = helper.make_graph([helper.make_node("f0", ["x"], ["y"], domain="local")], "g", edges[:1], edges[1:])
        sets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        model = helper.make_model(graph, opset_imports=sets, functions=functions, ir_version=8)
        Path("first.onnx").write_bytes(model.SerializeToString())

    return make


def external(**fields: str) -> Make:
    def make(folder: Path) -> None:
        model = onnx.load("first.onnx")
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        Path("weights").write_bytes(bytes(1 << 16))
        for key, value in {"location": "weights", **fields}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        Path("first.onnx").write_bytes(model.SerializeToString())

    return make


def statistics(name: str, **arrays: bytes) -> Make:
    return written(name, npz(**arrays))


def large_statistics(folder: Path) -> None:
    large_deflated("a.mgstats", "overall.npz")


def both(*makes: Make) -> Make:
    def make(folder: Path) -> None:
        for one in makes:
            one(folder)

    return make
