"""Runs .tflite models on the workstation, on each interpreter that is installed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.errors import ConversionError, MissingDependencyError
from multigraft.installing import how_missing
from multigraft.runtime.backends import InterpreterName, load_backend
from multigraft.runtime.delegate.library import delegates_for
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Signature
from multigraft.tflite.operators import BINARY

Arrays = dict[str, npt.NDArray[Any]]

BACKENDS = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
"""Distribution name to the module that holds its Interpreter, the preferred one first."""

PREFERRED = next(iter(BACKENDS))
"""What the runtime uses where both are installed, and what makes the golden outputs."""

_RUNTIME_NAMES: dict[str, InterpreterName] = {"ai-edge-litert": "litert", "tflite-runtime": "tflite-runtime"}

MAIN = "serving_default"

_NODE_NUMBER = re.compile(r"Node number (\d+)")


class Runner:
    """One interpreter over one model, run through its signatures.

    Args:
        model: Content of a .tflite file.
        backend: A key of :data:`BACKENDS`.
        threads: Threads of the interpreter.
        delegates: Let the interpreter use its default delegate (XNNPACK), as on a device.

    Raises:
        MissingDependencyError: The backend is not installed.
        ConversionError: The backend refuses the model.
    """

    def __init__(self, model: bytes, backend: str = "ai-edge-litert", threads: int = 1, delegates: bool = True) -> None:
        try:
            module = importlib.import_module(BACKENDS[backend])
        except Exception as error:
            raise MissingDependencyError(f"{backend} is {how_missing(error)}", f"install {backend} with pip") from error
        try:
            kinds = module.OpResolverType
            kind = kinds.AUTO if delegates else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            self._interpreter = module.Interpreter(
                model_content=model,
                num_threads=threads,
                experimental_op_resolver_type=kind,
                experimental_delegates=(own := _delegates(model, backend)),
            )
            if own:  # which reach all subgraphs by this call alone
                self._interpreter.allocate_tensors()
            self._runners: dict[str, Any] = {}
            self._model = model
        except (ValueError, RuntimeError) as error:
            raise ConversionError(f"{backend} refuses the model ({one_line(error)})") from error

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]], signature: str = MAIN) -> Arrays:
        """Run one signature; returns all of its outputs, copied."""
        try:
            if signature not in self._runners:
                self._runners[signature] = self._interpreter.get_signature_runner(signature)
            outputs: Arrays = self._runners[signature](**inputs)
        except (ValueError, RuntimeError) as error:
            where = _written_by(self._model, signature, error)
            raise ConversionError(f"signature {signature!r} does not run ({one_line(error)}{where})") from error
        return outputs


def _delegates(model: bytes, backend: str) -> list[Any] | None:
    """What runs binary operators, where the model may have some; None otherwise."""
    if not any(name.encode() in model for name in BINARY):
        return None
    return delegates_for(BINARY, load_backend(_RUNTIME_NAMES[backend]), "the model")


class WholeFile:
    """One interpreter over a file as it is, of one input, whether or not it has signatures.

    Args:
        model: Content of a .tflite file.
        backend: A key of :data:`BACKENDS`, which is installed.

    Raises:
        ValueError, RuntimeError: The backend refuses the model.
    """

    def __init__(self, model: bytes, backend: str = "ai-edge-litert") -> None:
        module = importlib.import_module(BACKENDS[backend])
        self._interpreter = module.Interpreter(
            model_content=model, num_threads=1, experimental_delegates=_delegates(model, backend)
        )
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def __call__(self, value: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Run once; returns all outputs as stored, in the order of the file."""
        self._interpreter.set_tensor(self._input["index"], value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output["index"]) for output in self._outputs]


class Taps:
    """Reads any tensors of a graph by making them outputs.

    XNNPACK refuses some graphs with such outputs that it runs otherwise; those run without it, which takes longer.
    """

    def __init__(self, graph: Graph, tensors: Sequence[str]) -> None:
        self._content = tapped(graph, tensors)
        self._runner = Runner(self._content)
        self._is_plain = False

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Values of the tensors, by name."""
        try:
            return self._runner(inputs)
        except ConversionError:
            if self._is_plain:
                raise
            self._runner, self._is_plain = Runner(self._content, delegates=False), True
            return self._runner(inputs)


def available() -> tuple[str, ...]:
    """The backends that are installed and work here (tflite-runtime imports beside numpy 2, then fails)."""
    probe = tflite_file.write(_probe())
    found = []
    for backend in BACKENDS:
        try:
            Runner(probe, backend)({"x": np.zeros(1, np.float32)})
        except (MissingDependencyError, ConversionError):
            continue
        found.append(backend)
    return tuple(found)


def version_of(backend: str) -> str:
    """Installed version of a backend."""
    import importlib.metadata

    return importlib.metadata.version(backend)


def tapped(graph: Graph, tensors: Sequence[str]) -> bytes:
    """``graph`` with ``tensors`` as the outputs of its one signature, by their names."""
    import dataclasses

    unique = tuple(dict.fromkeys(tensors))
    outputs = dataclasses.replace(graph, outputs=unique)
    return tflite_file.write(Model((outputs,), (main_signature(outputs),)))


def main_signature(graph: Graph) -> Signature:
    """A signature whose argument names are the names of the graph's inputs and outputs."""
    return Signature(MAIN, {n: n for n in graph.inputs}, {n: n for n in graph.outputs})


def _probe() -> Model:
    from multigraft.tflite.graph import Op, Tensor

    graph = Graph.of("probe", ["x"], ["y"], [Op("ABS", ("x",), ("y",))], [Tensor("x", (1,)), Tensor("y", (1,))])
    return Model((graph,), (main_signature(graph),))


def _written_by(model: bytes, signature: str, error: Exception) -> str:
    """What the operator writes that the interpreter names by number, for a sentence; empty if it names none."""
    number = _NODE_NUMBER.search(str(error))
    file = tflite_file.read(model)
    subgraph = next((s.subgraph for s in file.signatures if s.name == signature), 0)
    ops = file.subgraphs[subgraph].ops
    if number is None or int(number[1]) >= len(ops) or not ops[int(number[1])].outputs:
        return ""
    return f" It writes {ops[int(number[1])].outputs[0]!r}."


def one_line(error: Exception) -> str:
    """What an interpreter says, for use inside a sentence."""
    return " ".join(str(error).split())[:200]
