"""Import of PyTorch networks: exported programs, and factories with a state dict (`make test-torch` runs these)."""

from __future__ import annotations

import contextlib
import json
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.converters.importing.importer import load_network
from multigraft.errors import InputError, MissingDependencyError, UnsupportedOperatorError, UsageError
from multigraft.tensors.preprocessing import Preprocessing

torch: Any = pytest.importorskip("torch", reason="could not import 'torch': install multigraft[torch]")
pytest.importorskip("onnxscript", reason="could not import 'onnxscript': install multigraft[torch]")

SIZE = Preprocessing(8, 10)
MODULE = """
    import torch
    from torch import nn

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.norm.running_mean += 0.3
            self.drop = nn.Dropout()
            self.last = nn.Linear(8, 5)

        def forward(self, x):
            return self.last(self.drop(torch.relu(self.norm(self.first(x))).mean((2, 3))))

    class Branching(Small):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    def make():
        torch.manual_seed(3)
        return Small()

    make_branching = Branching
    def broken(): raise ValueError("no weights here")
    def number(): return 3
"""


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with a module of its own name, since Python keeps modules once imported."""
    name = "nets_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE), "utf-8")
    return tmp_path


def source(folder: Path, function: str) -> str:
    return f"{next(folder.glob('*.py')).stem}:{function}"


def small(folder: Path, seed: int) -> Any:
    """A network of that module with other weights than the factory gives."""
    space: dict[str, Any] = {}
    exec(textwrap.dedent(MODULE), space)
    torch.manual_seed(seed)
    return space["Small"]().eval()


def assert_same(network: Any, module: Any) -> None:
    x = np.random.default_rng(0).random((2, 3, 8, 10), dtype=np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(network.run(x)[network.outputs[0]], expected, rtol=1e-4, atol=1e-5)
    assert [n.op_type for n in network.nodes] == ["Conv", "Relu", "ReduceMean", "Gemm"]


def test_an_exported_program_computes_the_same(folder: Path) -> None:
    module = small(folder, 1)
    path = folder / "net.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, 8, 10),)), path)
    network = load_network(path, trusts_code=True)
    assert_same(network, module)
    assert network.preprocessing == SIZE
    assert len(network.source_sha256) == 64


@pytest.mark.parametrize(("suffix", "is_wrapped"), [(".pt", False), (".pth", True), (".safetensors", False)])
def test_a_factory_takes_the_weights_of_its_state_dict(folder: Path, suffix: str, is_wrapped: bool) -> None:
    module, state = small(folder, 2), folder / f"weights{suffix}"
    if suffix == ".safetensors":
        save = pytest.importorskip(
            "safetensors.torch", reason="could not import 'torch' weights: safetensors"
        ).save_file
        save(module.state_dict(), state)
    else:
        torch.save({"state_dict": module.state_dict()} if is_wrapped else module.state_dict(), state)
    assert_same(
        load_network(source(folder, "make"), preprocessing=SIZE, state=state, folder=folder, trusts_code=True), module
    )


def test_a_factory_without_state_keeps_its_own_weights(folder: Path) -> None:
    network = load_network(source(folder, "make"), name="own", preprocessing=SIZE, folder=folder, trusts_code=True)
    assert_same(network, small(folder, 3))
    assert network.name == "own"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("none", "has no function 'none'"),
        ("number", "returns int"),
        ("broken", "no weights here"),
    ],
)
def test_factories_that_give_no_network_are_refused(folder: Path, function: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_network(source(folder, function), preprocessing=SIZE, folder=folder, trusts_code=True)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_that_branches_on_values_is_refused(folder: Path) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        load_network(source(folder, "make_branching"), preprocessing=SIZE, folder=folder, trusts_code=True)
    assert "make_branching" in str(caught.value) and "\n" not in str(caught.value)


def test_modules_and_files_that_are_missing_or_damaged_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"module no_such_module of no_such_module:make cannot be imported"):
        load_network("no_such_module:make", preprocessing=SIZE, folder=folder, trusts_code=True)
    with pytest.raises(InputError, match=r"give its preprocessing"):
        load_network(source(folder, "make"), folder=folder, trusts_code=True)
    damaged = folder / "damaged.pt"
    torch.save({"first.weight": torch.zeros(3)}, damaged)
    with pytest.raises(InputError, match="does not fit"):
        load_network(source(folder, "make"), preprocessing=SIZE, state=damaged, folder=folder, trusts_code=True)
    damaged.write_bytes(b"not a state dict")
    with pytest.raises(InputError, match="is not a state dict"):
        load_network(source(folder, "make"), preprocessing=SIZE, state=damaged, folder=folder, trusts_code=True)
    with pytest.raises(InputError, match="does not exist"):
        load_network(
            source(folder, "make"), preprocessing=SIZE, state=folder / "none.pt", folder=folder, trusts_code=True
        )
    for name in ("none.pt2", "damaged.pt2"):
        (folder / "damaged.pt2").write_bytes(b"PK nothing")
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            load_network(folder / name, trusts_code=True)


def test_safetensors_without_its_package_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.torch", None)
    (folder / "w.safetensors").write_bytes(b"")
    with pytest.raises(MissingDependencyError, match="install safetensors"):
        load_network(
            source(folder, "make"), preprocessing=SIZE, state=folder / "w.safetensors", folder=folder, trusts_code=True
        )


class Command:
    """Pickled, it is a command to the shell."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.ran,)


def hostile_sample(folder: Path, ran: Path) -> Path:
    """An exported program whose sample inputs are a command."""
    program = torch.export.export(small(folder, 1), (torch.zeros(1, 3, 8, 10),))
    program._example_inputs = ((torch.zeros(1, 3, 8, 10), Command(ran)), {})
    path = folder / "sample.pt2"
    torch.export.save(program, path)
    return path


def hostile_shape(folder: Path, ran: Path) -> Path:
    """An exported program without a hostile pickle: a dimension of its graph is an expression that is evaluated."""
    whole, path = folder / "whole.pt2", folder / "shape.pt2"
    torch.export.save(torch.export.export(small(folder, 1), (torch.zeros(1, 3, 8, 10),)), whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as changed:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("models/model.json"):
                graph = json.loads(data)
                expression = f"__import__('pathlib').Path({str(ran)!r}).touch()"
                sizes = graph["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
                sizes[0] = {"as_expr": {"expr_str": expression, "hint": {"as_int": 1}}}
                data = json.dumps(graph).encode()
            changed.writestr(name, data)
    return path


@pytest.mark.parametrize("make", [hostile_sample, hostile_shape])
def test_a_hostile_program_runs_nothing_unless_its_user_trusts_it(folder: Path, make: Any) -> None:
    ran = folder / "ran"
    path = make(folder, ran)
    with pytest.raises(UsageError, match="--trust-code"):
        load_network(path)
    assert not ran.exists()
    # The file is hostile indeed: whoever trusts it is served.
    with contextlib.suppress(InputError, UnsupportedOperatorError):
        load_network(path, trusts_code=True)
    assert ran.exists()


def test_a_state_dict_runs_nothing_even_with_consent(folder: Path) -> None:
    ran, state = folder / "ran", folder / "state.pt"
    torch.save({**small(folder, 2).state_dict(), "more": Command(ran)}, state)
    with pytest.raises(InputError, match="is not a state dict"):
        load_network(source(folder, "make"), preprocessing=SIZE, state=state, folder=folder, trusts_code=True)
    assert not ran.exists()
