"""One .tflite file on an interpreter, and its subgraphs, allocated and ready.

The interpreters' public signature runner resizes, allocates and copies at every call, which costs more than a small
network's own time. Here a subgraph is allocated once, and its inputs and outputs are arrays over the interpreter's own
memory. Where the wrapper methods this needs are not there, :class:`Subgraph` has its own arrays and the public methods
fill them.
"""

from __future__ import annotations

import copy
import functools
import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from multigraft.errors import InputError, UsageError
from multigraft.reading import regular_file
from multigraft.runtime.backends import BackendName, load_backend
from multigraft.runtime.delegate.choosing import delegates_for
from multigraft.runtime.memory import give_back_memory, let_go_of_code, let_go_of_file
from multigraft.tensors.arrays import Array
from multigraft.tflite.checking.check import check_tflite


@dataclass(frozen=True)
class Subgraph:
    """One subgraph, allocated and ready.

    Attributes:
        inputs: Argument name to the array to write before :attr:`invoke`: stored values, full shape.
        outputs: Argument name to the array to read after it; the next invoke overwrites it.
        invoke: Runs it once, with what lies in ``inputs``.
        direct: The arrays are the interpreter's own memory.
        scales: Argument name to (scale, zero point); scale 0.0 where the tensor is not quantised.
    """

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    invoke: Callable[[], Any]
    direct: bool
    scales: dict[str, tuple[float, int]]


class TfliteModel:
    """One interpreter over one .tflite file. Not for use from several threads at once.

    XNNPACK keeps a second, packed copy of the weights per interpreter: make one per file, and take all subgraphs of it.

    Args:
        model: The file's path or its bytes.
        backend: Which interpreter.
        threads: Threads for the kernels.
        reference: Use the reference kernels: slow; those of tflite-runtime equal TFLite Micro's bit for bit.
        direct: False uses the public methods alone.

    Attributes:
        backend: The interpreter.
        signatures: Their keys.

    Raises:
        InputError: It is not a .tflite file, or holds an operator that the interpreter does not know.
        MissingDependencyError: The interpreter is not installed, or the delegate that the model's operators need.
        UsageError: ``threads`` is not positive.
    """

    def __init__(
        self,
        model: bytes | str | os.PathLike[str],
        backend: BackendName = "auto",
        threads: int = 1,
        reference: bool = False,
        direct: bool = True,
    ) -> None:
        if threads < 1:
            raise UsageError(f"{threads} threads were asked for", "give at least 1")
        self.backend = load_backend(backend)
        self._where = "the model" if isinstance(model, bytes) else str(model)
        self._direct = direct
        resolver = self.backend.module.OpResolverType
        self._options: dict[str, Any] = {
            "num_threads": threads,
            "experimental_op_resolver_type": resolver.BUILTIN_REF if reference else resolver.AUTO,
        }
        if isinstance(model, bytes):
            custom = check_tflite(model, self._where, not reference)
            self._options["model_content"] = model
        else:
            custom = _check_file(Path(model), not reference)
            self._options["model_path"] = os.fspath(model)
        if delegates := delegates_for(custom, self.backend, self._where):
            self._options["experimental_delegates"] = delegates
        self._interpreter = self._made()
        # Delegates are applied to all subgraphs by this call, and not by the allocation of a single subgraph.
        self._load(self._interpreter.allocate_tensors)
        self._arguments: dict[str, dict[str, list[str]]] = self._interpreter.get_signature_list()
        self.signatures: tuple[str, ...] = tuple(self._arguments)

    def inputs_of(self, signature: str) -> tuple[str, ...]:
        """The arguments that a signature reads."""
        return tuple(self._arguments[signature]["inputs"])

    def outputs_of(self, signature: str) -> tuple[str, ...]:
        """The arguments that a signature writes."""
        return tuple(self._arguments[signature]["outputs"])

    def has_delegate(self) -> bool | None:
        """Whether a delegate (XNNPACK) took operators of the first subgraph; None where the interpreter does not tell.

        Without one a network takes several times as long. XNNPACK stays away without a word where it cannot read
        /proc/cpuinfo (on Arm).
        """
        told = getattr(self._interpreter, "_get_ops_details", None)
        if told is None:
            return None
        return any(operator["op_name"] == "DELEGATE" for operator in told())

    def let_go(self) -> None:
        """Let the system have what loading needed: freed memory, code, and what was read of the file, if it is one.

        Kernels work on the packed weights that the interpreter made of it. What some read in place comes back with the
        next run, and stays.
        """
        if "model_path" in self._options:
            let_go_of_file(Path(self._options["model_path"]))
        let_go_of_code()
        give_back_memory()

    def without_delegates(self) -> Self:
        """Another interpreter over the same content, one thread: it packs no weights and allocates nothing yet.

        Only subgraphs with a signature can be taken of it, and what they need is freed with it. It takes a millisecond,
        and its kernels take longer.
        """
        other = copy.copy(self)
        resolver = self.backend.module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        other._options = {**self._options, "num_threads": 1, "experimental_op_resolver_type": resolver}
        other._interpreter = other._made()
        return other

    def _made(self) -> Any:
        return self._load(lambda: self.backend.module.Interpreter(**self._options))

    def _load(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"{self._where} cannot be loaded by {self.backend} ({_first_line(error)})",
                "give a whole .tflite file whose operators this interpreter knows",
            ) from error

    def subgraph(self, signature: str | None = None, given: Mapping[str, Array] | None = None) -> Subgraph:
        """Allocate one subgraph, run it once and return it.

        Args:
            signature: Its key; None for the first subgraph of the file, whose arguments are called like its tensors.
            given: Values of its inputs for that run; without them they are 0.

        Raises:
            InputError: There is no such signature, a shape is not fixed, or it cannot run.
        """
        if signature is not None and signature not in self.signatures:
            have = ", ".join(self.signatures) or "none"
            raise InputError(f"{self._where} has no signature {signature!r}", f"choose from: {have}")
        try:
            direct = self._take_direct(signature, given or {}) if self._direct else None
            return direct or self._take_public(signature, given or {})
        except (ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self._where}: {signature or 'its graph'} does not run on {self.backend} ({_first_line(error)})",
                "give a model whose operators this interpreter knows",
            ) from error

    def _details(self, signature: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Argument name to tensor details, inputs and outputs."""
        if signature is None:
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            return {d["name"]: d for d in inputs}, {d["name"]: d for d in outputs}
        runner = self._interpreter.get_signature_runner(signature)
        return runner.get_input_details(), runner.get_output_details()

    def _take_direct(self, signature: str | None, given: Mapping[str, Array]) -> Subgraph | None:
        interpreter = self._interpreter
        wrapper: Any = getattr(interpreter, "_interpreter", None)
        needed = ("tensor", "Invoke", "AllocateTensors", "GetSubgraphIndexFromSignature")
        if not all(hasattr(wrapper, name) for name in needed):
            return None
        inputs, outputs = self._details(signature)
        self._refuse_open_shapes(inputs)
        index = 0 if signature is None else wrapper.GetSubgraphIndexFromSignature(signature)
        if signature is not None:
            wrapper.AllocateTensors(index)

        def view(details: Any) -> Array:
            # Each view keeps `interpreter`, and with it the memory, alive.
            array: Array = wrapper.tensor(interpreter, details["index"], index)
            return array

        try:
            views = {name: view(d) for name, d in inputs.items()}, {name: view(d) for name, d in outputs.items()}
            invoke: Any = functools.partial(wrapper.Invoke, index)
            invoke.interpreter = interpreter  # which keeps the delegates alive
            for name, array in views[0].items():
                array[...] = given.get(name, 0)
            invoke()
            # Tensors whose size is known only after running lie elsewhere after each run.
            for arrays, details in zip(views, (inputs, outputs), strict=True):
                for name, array in arrays.items():
                    after = view(details[name])
                    if after.shape != array.shape or after.ctypes.data != array.ctypes.data:
                        return None
        except (TypeError, ValueError):
            return None
        return Subgraph(*views, invoke, True, _scales(inputs) | _scales(outputs))

    def _take_public(self, signature: str | None, given: Mapping[str, Array]) -> Subgraph:
        inputs, outputs = self._details(signature)
        self._refuse_open_shapes(inputs)
        written = {name: np.zeros(d["shape"], d["dtype"]) for name, d in inputs.items()}
        for name, array in written.items():
            array[...] = given.get(name, 0)
        interpreter = self._interpreter
        if signature is None:
            interpreter.allocate_tensors()

            def run() -> dict[str, Array]:
                for name, array in written.items():
                    interpreter.set_tensor(inputs[name]["index"], array)
                interpreter.invoke()
                return {name: interpreter.get_tensor(d["index"]) for name, d in outputs.items()}
        else:
            runner = interpreter.get_signature_runner(signature)

            def run() -> dict[str, Array]:
                result: dict[str, Array] = runner(**written)
                return result

        read = {name: array.copy() for name, array in run().items()}

        def invoke() -> None:
            for name, array in run().items():
                if array.shape != read[name].shape:
                    raise InputError(
                        f"{self._where}: output {name} changes its shape from run to run", "give it a fixed shape"
                    )
                np.copyto(read[name], array)

        return Subgraph(written, read, invoke, False, _scales(inputs) | _scales(outputs))

    def _refuse_open_shapes(self, inputs: dict[str, Any]) -> None:
        for name, details in inputs.items():
            if (np.asarray(details["shape_signature"]) < 0).any():
                raise InputError(
                    f"{self._where}: input {name} has the open shape {details['shape_signature'].tolist()}",
                    "convert the model with a fixed batch of 1",
                )


def _check_file(path: Path, is_optimised: bool) -> frozenset[str]:
    try:
        with regular_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return check_tflite(data, str(path), is_optimised)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        # An empty file cannot be mapped: ValueError.
        raise InputError(f"{path} cannot be read as a .tflite file ({error})", "check the path") from error


def _scales(details: dict[str, Any]) -> dict[str, tuple[float, int]]:
    return {name: (float(d["quantization"][0]), int(d["quantization"][1])) for name, d in details.items()}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
