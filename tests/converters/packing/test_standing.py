"""Quantised files in a bundle: their tensors, and on every interpreter the same bytes as the file gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from multigraft import Bundle
from multigraft.bundle.manifest import SPREAD
from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.build import build as build_settings
from multigraft.converters.conversion.interpreters import Runner, WholeFile, available
from multigraft.converters.importing.tflite.reader import read_tflite
from multigraft.converters.importing.tflite.standing import is_quantised, load_standing
from multigraft.converters.network.standing import StandingNetwork
from multigraft.converters.packing.standing import empty_bundle, standing_agreement, with_standing
from multigraft.converters.settings.settings import Settings
from multigraft.converters.standing import standing_conversion, without_standing
from multigraft.errors import BundleError, ConfigurationError, InputError, UnsupportedOperatorError
from multigraft.runtime import Engine
from multigraft.runtime.delegate import library
from multigraft.runtime.self_test import MAX_LSB, deviation
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite.operators import BINARY
from multigraft.tflite.tflite_file import read
from tests.bundle_builder import build
from tests.converters.packing.integer_files import FILES, frames, int8_file, int16_file, saved
from tests.converters.packing.signed_tower import signed_tower
from tests.runtime.conftest import BACKENDS

PIXELS = Preprocessing(8, 8, "grey", (0.0,), (1 / 255,))


TOWER = """
frames = "frames.npy"
[budget]
min_agreement = 0.5
[[task]]
name = "tower"
model = "tower.tflite"
kind = "other"
preprocessing = { size = [8, 8], mean = 127.5, scale = 0.0078125 }
"""


def standing(folder: Path, kind: str, name: str = "") -> StandingNetwork:
    return load_standing(saved(folder, kind), name or kind, PIXELS, "classification", ("a", "b", "c"))


def joined(folder: Path) -> tuple[Bundle, list[StandingNetwork]]:
    networks = [standing(folder, kind) for kind in FILES]
    order = [n.name for n in networks]
    return with_standing(empty_bundle("home", {}), networks, order, {k: frames(4) for k in FILES}), networks


def test_a_bundle_answers_as_the_files_do_byte_for_byte_on_every_interpreter(tmp_path: Path) -> None:
    bundle, networks = joined(tmp_path)
    rng = np.random.default_rng(2)
    for backend in available():
        runner = Runner(bundle.model, backend)
        for network in networks:
            original = WholeFile(network.content, backend)
            (source,), (answer,) = network.graph.inputs, network.graph.outputs
            tensor = network.graph.tensors[source]
            for _ in range(20):
                x = rng.integers(-128, 128, tensor.shape).astype(tensor.dtype)
                given = runner({f"{network.name}/{source}": x}, f"head_{network.name}")[f"{network.name}/{answer}"]
                assert given.tobytes() == original(x)[0].tobytes()


def test_its_tensors_operators_and_scales_are_those_of_the_file(tmp_path: Path) -> None:
    bundle, networks = joined(tmp_path)
    held = {g.name: g for g in read(bundle.model).subgraphs}
    for network in networks:
        graph = held[f"head_{network.name}"]
        assert [op.name for op in graph.ops] == [op.name for op in network.graph.ops]
        for name, tensor in network.graph.tensors.items():
            kept = graph.tensors[f"{network.name}/{name}"]
            assert (kept.shape, kept.dtype, kept.quant) == (tensor.shape, tensor.dtype, tensor.quant)
            assert (kept.data is None) == (tensor.data is None)
            assert tensor.data is None or np.array_equal(kept.data, tensor.data)  # type: ignore[arg-type]
    assert len(bundle.model) < 2 * sum(len(n.content) for n in networks) / len(networks) + 8192


def test_the_engine_runs_it_and_its_self_test_holds(tmp_path: Path) -> None:
    bundle, networks = joined(tmp_path)
    path = bundle.write(tmp_path / "home.graft")
    engine = Engine(path)
    assert engine.self_test is not None
    answers = engine.run(frames(1)[0]).answers
    assert set(answers) == set(FILES) and {a.to_json()["label"] for a in answers.values()} <= {"a", "b", "c"}
    same = standing_agreement(bundle, networks[0], frames(40), 0.95, None)
    assert same.value == 1.0 and same.frames == 40
    segment = bundle.manifest.segment("head_int8")
    assert segment.precision == "int8" and segment.macs == networks[0].macs > 0
    assert segment.weights_bytes == networks[0].weights_bytes
    assert bundle.manifest.provenance["as_it_is"]["int8"]["mismatches"] == 0


def test_signs_that_hang_on_rounding_run_on_every_interpreter_and_the_bundle_says_so(tmp_path: Path) -> None:
    path = tmp_path / "tower.tflite"
    path.write_bytes(signed_tower())
    conversion = standing_conversion(load_standing(path, "tower", None, "other"), "tower", ())
    (sentence,) = [told for told in conversion.sentences() if "hang on how kernels round" in told]
    off = conversion.bundle.manifest.provenance[SPREAD]
    (most,) = off["most"].values()
    assert most > MAX_LSB and len(off["kernels"]) == len(available()) and f"up to {most:.0f} LSB" in sentence
    for backend in BACKENDS:
        ran = Engine(conversion.bundle, backend=backend).self_test
        assert ran is not None and ran.exact == ran.same_kernels
    unmeasured = {key: value for key, value in conversion.bundle.manifest.provenance.items() if key != SPREAD}
    manifest = dataclasses.replace(conversion.bundle.manifest, provenance=unmeasured)
    contents = {name: conversion.bundle.read(name) for name in manifest.files}
    if "tflite-runtime" in BACKENDS:
        with pytest.raises(BundleError, match="LSB"):
            Engine(Bundle.create(manifest, contents), backend="tflite-runtime")


def test_bits_of_a_file_have_a_fallback_where_no_delegate_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tower.tflite"
    path.write_bytes(signed_tower())
    settings = tmp_path / "multigraft.toml"
    settings.write_text(TOWER)
    np.save(tmp_path / "frames.npy", np.random.default_rng(1).integers(0, 256, (40, 8, 8, 3), np.uint8))
    whole = build_settings(Settings.load(settings), load_frames).bundle
    x = {"tower/image": np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 3), np.int8)}
    for backend in BACKENDS:
        expected = Engine(whole, backend=backend).compute(x)
        with monkeypatch.context() as patch:
            patch.setattr(library, "__file__", str(tmp_path / "library.py"))
            engine = Engine(whole, backend=backend)
        assert engine.fallback_reason is not None and "not part of this installation" in engine.fallback_reason
        (segment,) = engine.manifest.segments
        assert not BINARY.intersection(segment.operators)
        # The answer hangs on rounding: as often equal as two kernels are, and no noise.
        given, wanted = engine.compute(x)["tower/answer5"], expected["tower/answer5"]
        assert deviation(wanted, given) <= 2 * whole.manifest.provenance[SPREAD]["rms"]["tower/answer5"] < 1.4
    settings.write_text(TOWER + "[convert]\nfallback = false\n")
    assert build_settings(Settings.load(settings), load_frames).bundle.manifest.fallback is None


def test_tasks_that_are_there_stay_as_they_were(tmp_path: Path) -> None:
    before = build().bundle
    names = [t.name for t in before.manifest.tasks]
    after = with_standing(before, [standing(tmp_path, "int8", "third")], ["third", *names], {})
    assert [t.name for t in after.manifest.tasks] == ["third", *names]
    rng = np.random.default_rng(0)
    old, new = Engine(before), Engine(after)
    frame = rng.integers(0, 256, (28, 28), np.uint8)
    assert {k: v for k, v in new.run(frame).answers.items() if k != "third"} == old.run(frame).answers


def test_what_cannot_stand_in_a_bundle_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path, "int8")
    assert is_quantised(path)
    with pytest.raises(InputError, match="joins a bundle as it is and shares no trunk; give the float32"):
        read_tflite(path)
    with pytest.raises(InputError, match=r"has shape \(1, 8, 8, 1\) and its preprocessing makes \(1, 9, 8, 1\)"):
        load_standing(path, "t", Preprocessing(9, 8, "grey", (0.0,), (1.0,)), "other")
    wakeword = tmp_path / "state.tflite"
    wakeword.write_bytes(stateful())
    with pytest.raises(UnsupportedOperatorError, match="keeps a state from one call to the next"):
        load_standing(wakeword, "t", None, "other")


def stateful() -> bytes:
    """The int8 network, whose answer a variable is added to."""
    import dataclasses

    from multigraft.tflite.graph import Model, Op, Tensor
    from multigraft.tflite.tflite_file import write

    graph = read(int8_file()).main
    answer = graph.tensors[graph.outputs[0]]
    kept = dataclasses.replace(answer, name="kept")
    total = dataclasses.replace(answer, name="total")
    ops = [
        Op("VAR_HANDLE", (), ("handle",), {"shared_name": "v", "container": ""}),
        Op("READ_VARIABLE", ("handle",), ("kept",)),
        *graph.ops,
        Op("ADD", (answer.name, "kept"), ("total",)),
    ]
    tensors = {t.name: t for t in (Tensor("handle", (), "resource"), kept, *graph.tensors.values(), total)}
    return write(Model((dataclasses.replace(graph, ops=tuple(ops), tensors=tensors, outputs=("total",)),)))


def test_an_old_file_answers_as_the_network_does(tmp_path: Path) -> None:
    """Its weights are rounded anew, to one scale, hence the margin."""
    old, new = (Path(saved(tmp_path, kind)).read_bytes() for kind in ("old", "int8"))
    rng = np.random.default_rng(4)
    for _ in range(20):
        x = rng.integers(0, 256, (1, 8, 8, 1), np.uint8)
        (answer,), (wanted,) = WholeFile(old)(x), WholeFile(new)((x.astype(np.int16) - 128).astype(np.int8))
        assert np.abs(answer.astype(int) - 128 - wanted).max() <= 12


def test_values_in_16_bits_outside_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "int16.tflite"
    path.write_bytes(int16_file(is_float_outside=False))
    with pytest.raises(InputError, match="is int16, which no frame becomes"):
        load_standing(path, "a", PIXELS, "classification")


def test_a_network_that_stands_as_it_is_cannot_be_thinned(tmp_path: Path) -> None:
    path = tmp_path / "multigraft.toml"
    text = 'frames = "frames.npy"\n[graft]\nthin = { first = "HOW" }\n'
    for name in ("first", "second"):
        (tmp_path / f"{name}.tflite").touch()
        text += f'[[task]]\nname = "{name}"\nmodel = "{name}.tflite"\nkind = "classification"\n'
        text += 'preprocessing = { size = [8, 8], color = "grey" }\n'
    path.write_text(text.replace("HOW", "auto"), "utf-8")
    (tmp_path / "frames.npy").touch()
    network = standing(tmp_path, "int8", "first")
    with pytest.raises(ConfigurationError, match=r"graft\.thin\.first asks to thin a network that"):
        without_standing(Settings.load(path), (network,))
    path.write_text(text.replace("HOW", "none"), "utf-8")
    (left,) = without_standing(Settings.load(path), (network,)).tasks
    assert left.name == "second"
