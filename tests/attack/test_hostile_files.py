"""Files that a hostile sender makes, through the real command line: one sentence, little memory, no hang."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.errors import MultigraftError
from multigraft.files import sha256_of
from multigraft.refit.refit_plan import Refit
from tests.attack.children import answer_of, command
from tests.bundle_builder import build
from tests.converters.graft.networks import residual_network

USAGE, CONFIGURATION = 2, 78
LARGE = 300 << 20
"""More than a command may take here."""

Make = Callable[[Path], None]

SETTINGS = """
frames = "frames.npy"
[[task]]
name = "first"
model = "first.onnx"
kind = "classification"
{more}
[task.preprocessing]
size = [8, 8]
color = "grey"
"""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return build().bundle


@pytest.fixture
def folder(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a good bundle, a picture and what a build needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTIGRAFT_DEBUG", raising=False)
    bundle.write("good.graft")
    Bundle.open("good.graft").deploy("good")
    np.save("frames.npy", np.zeros((200, 8, 8), np.uint8))
    onnx.save(residual_network("first", 0).model, "first.onnx")
    Path("multigraft.toml").write_text(SETTINGS.format(more=""), "utf-8")
    yield tmp_path
    # Sparse files and pictures of zeros are large where something copies them.
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.unlink()


def opened_refit() -> int:
    try:
        Refit.open(Path("a.mgrefit"))
    except MultigraftError as error:
        print(f"multigraft: {error}", file=sys.stderr)
        return error.exit_code
    return 0


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


def manifest(change: Callable[[dict[str, object]], object] | bytes) -> Make:
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


def settings(text: str) -> Make:
    return lambda folder: Path("multigraft.toml").write_text(text, "utf-8") and None


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
    return lambda folder: Path(name).write_bytes(npz(**arrays)) and None


def large_statistics(folder: Path) -> None:
    large_deflated("a.mgstats", "overall.npz")


def both(*makes: Make) -> Make:
    def make(folder: Path) -> None:
        for one in makes:
            one(folder)

    return make


INSPECT, DEPLOYED, RUN = "inspect a.graft", "inspect good", "run a.graft --source frames.npy --frames 1"
GOOD_RUN, BUILD = "run good.graft --frames 1 --source", "graft multigraft.toml -o out.onnx"
STATISTICS, REFIT = "calibrate combine a.mgstats -o out.mgstats", "open a.mgrefit"
BRACKETS = "[" * 100_000

CASES: dict[str, tuple[Make, str, str]] = {
    "name that climbs": (named("../evil"), INSPECT, "holds ../evil, which"),
    "absolute name": (named("/tmp/evil"), INSPECT, "holds /tmp/evil, which"),
    "name with an escape": (named("a\x1b[2J"), INSPECT, r"holds a\x1b[2J, which"),
    "name twice": (twice, INSPECT, "two members of one name"),
    "member that is a link": (linked_member, INSPECT, "model.tflite is no regular file"),
    "member that unpacks to 300 MB": (deflated_member, INSPECT, "compressed in a way"),
    "member that lies about its size": (lying_member, INSPECT, "compressed in a way"),
    "20,000 entries": (overlapping(20_000), INSPECT, "holds 20000 members"),
    "entries over each other": (overlapping(50), INSPECT, "compressed in a way"),
    "manifest of 500 MB": (lambda f: sparse_zip("a.graft", "manifest.json", 500 << 20), INSPECT, "may have 4194304"),
    "manifest of nothing but brackets": (manifest(BRACKETS.encode()), INSPECT, "is not JSON"),
    "manifest with half a character": (manifest(lambda m: m.update(name="\ud800")), INSPECT, "half of a character"),
    "manifest with a name that climbs": (
        manifest(lambda m: m.update(files={"../evil": {"sha256": "", "size": 1}})), INSPECT, "lacks ../evil"
    ),
    "bundle that is a device": (link("a.graft"), INSPECT, "no regular file"),
    "bundle that is a pipe": (pipe("a.graft"), INSPECT, "no regular file"),
    "deployed file that is a device": (link("good/model.tflite"), DEPLOYED, "no regular file"),
    "deployed file that is a link": (link("good/model.tflite", "../good.graft"), DEPLOYED, "no regular file"),
    "deployed file that is a pipe": (pipe("good/manifest.json"), DEPLOYED, "no regular file"),
    "deployed manifest of 500 MB": (sparse("good/manifest.json", 500 << 20), DEPLOYED, "may have 4194304"),
    "deployed model of other size": (sparse("good/model.tflite"), DEPLOYED, "is not what was built"),
    "golden array of absurd shape": (golden(npy("'|i1'", f"({1 << 60}, 9)", b"1")), RUN, "said to be int8"),
    "golden array of negative shape": (golden(npy("'|i1'", "(-1, 9)", b"1")), RUN, "has shape"),
    "golden array of objects": (golden(npy("'|O'", "(1,)", b"cos\nsystem\n")), RUN, "something else than numbers"),
    "golden array that is a puzzle": (golden(npy("'|i1'", "(" * 90, b"1")), RUN, "header is damaged"),
    "golden arrays that are none": (replaced("golden/inputs.npz", b"text"), RUN, "is not a NumPy file"),
    "statistics that are a device": (link("a.mgstats"), STATISTICS, "no regular file"),
    "statistics that are a pipe": (pipe("a.mgstats"), STATISTICS, "no regular file"),
    "statistics that unpack to 300 MB": (large_statistics, STATISTICS, "unpacks to more than"),
    "statistics over each other": (overlapping(2_000), STATISTICS, "lie over each other"),
    "refit file that is a device": (link("a.mgrefit"), REFIT, "no regular file"),
    "refit file of an absurd shape": (
        statistics("a.mgrefit", manifest=npy("'|u1'", f"({1 << 50},)")), REFIT, "said to be uint8"
    ),
    "refit file of brackets": (
        statistics("a.mgrefit", manifest=npy("'|u1'", "(100000,)", BRACKETS.encode())), REFIT, "nested too deeply"
    ),
    "frames of an absurd shape": (
        lambda f: Path("a.npy").write_bytes(npy("'|u1'", f"({1 << 50}, 9, 9)")) and None, f"{GOOD_RUN} a.npy", "to be"
    ),
    "frames that are a pipe": (pipe("a.npy"), f"{GOOD_RUN} a.npy", "no regular file"),
    "frames that unpack to 300 MB": (lambda f: large_deflated("a.npz", "a.npy"), f"{GOOD_RUN} a.npz", "a.npz"),
    "picture of 177 megapixels": (picture("a.png", 13_312, 13_312), f"{GOOD_RUN} a.png", "13312 x 13312 pixels"),
    "picture of 4 gigapixels": (picture("a.png", 65_535, 65_535), f"{GOOD_RUN} a.png", "a.png"),
    "picture that is a program": (postscript, f"{GOOD_RUN} a.png", "is not a readable image"),
    "settings of 100,000 brackets": (settings(f"a = {BRACKETS}"), BUILD, "nested too deeply"),
    "settings that are a device": (link("multigraft.toml"), BUILD, "no regular file"),
    "settings that are a pipe": (pipe("multigraft.toml"), BUILD, "no regular file"),
    "settings of 300 MB": (sparse("multigraft.toml"), BUILD, "may have 262144"),
    "labels that are a device": (
        both(settings(SETTINGS.format(more='labels = "l"')), link("l")), BUILD, "no regular file"
    ),
    "network that is a device": (link("first.onnx"), BUILD, "no regular file"),
    "network that is a pipe": (pipe("first.onnx"), BUILD, "no regular file"),
    "network that unfolds without end": (onnx_functions(30), BUILD, "unfolds to more than"),
    "network that calls itself": (onnx_functions(3, recursive=True), BUILD, "call themselves"),
    "network with weights before the file": (external(offset="-5", length="4"), BUILD, "keeps weights"),
    "network with weights at no place": (external(offset="x"), BUILD, "says wrongly where"),
    "model that is a pipe": (pipe("a.tflite"), "firmware a.tflite -o fw --board pico", "no regular file"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_sentence(name: str, folder: Path) -> None:
    make, argv, says = CASES[name]
    make(folder)
    outside = sorted(folder.parent.iterdir())
    # A build reads a refit file after the networks, whose libraries take more memory than is allowed here.
    answer = answer_of(opened_refit) if argv == REFIT else command(argv.split())
    assert says in answer.sentence, answer
    assert answer.code == (CONFIGURATION if "settings" in name or "labels" in name else USAGE), answer
    assert "Traceback" not in answer.text and answer.sentence.endswith(".")
    assert sorted(folder.parent.iterdir()) == outside


def test_the_good_files_are_read_within_the_same_bounds(folder: Path) -> None:
    for argv in (INSPECT.replace("a.graft", "good.graft"), DEPLOYED, f"{GOOD_RUN} frames.npy"):
        answer = command(argv.split())
        assert answer.code == 0, (argv, answer)


def test_equal_content_is_the_same_however_it_is_kept(bundle: Bundle, folder: Path) -> None:
    kept, deployed = Bundle.open("good.graft"), Bundle.open("good")
    assert kept.manifest == deployed.manifest == bundle.manifest
    assert kept.model == deployed.model == bundle.model


def test_what_no_command_foresaw_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: object) -> None:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr(Bundle, "open", broken)
    answer = command(["inspect", "good.graft"])
    assert answer.code == 70
    assert "ZeroDivisionError: division by; this is a defect of multigraft, please report it" in answer.sentence
    assert "Traceback" not in answer.text
    monkeypatch.setenv("MULTIGRAFT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["inspect", "good.graft"])
