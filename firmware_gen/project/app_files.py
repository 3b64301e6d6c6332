"""What the serial applications have to know of a model, as C: names, shapes and scales of its tensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from multigraft import serial_protocol as protocol
from multigraft.errors import InputError
from multigraft.firmware_gen.project.naming import DEFAULT
from multigraft.firmware_gen.project.parts import parts_source
from multigraft.firmware_gen.project.project import Part, Port, Project, ProjectExit

_BYTES = {
    protocol.DataType.INT8: 1,
    protocol.DataType.UINT8: 1,
    protocol.DataType.INT16: 2,
    protocol.DataType.INT32: 4,
    protocol.DataType.FLOAT32: 4,
    protocol.DataType.BOOL: 1,
}


@dataclass(frozen=True)
class AppTensor:
    """An input or output of the model in the firmware.

    Args:
        name: The name the user knows it by; 31 bytes of it are kept.
        dtype: numpy name of the element type.
        shape: Its shape in the .tflite file.
        scale: Quantisation scale, 0.0 if it is not quantised.
        zero_point: The stored value that stands for 0.0.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of its elements in memory."""
        return _BYTES[self.code] * prod(self.shape)

    @property
    def code(self) -> protocol.DataType:
        """The protocol's number for the element type.

        Raises:
            InputError: The protocol has none.
        """
        try:
            return protocol.DataType[self.dtype.upper()]
        except KeyError:
            known = ", ".join(code.name.lower() for code in protocol.DataType)
            raise InputError(f"tensor {self.name!r} is {self.dtype}", f"firmware takes {known}") from None

    def c_initialiser(self) -> str:
        """The app_tensor.

        Raises:
            InputError: It has more dimensions than the protocol takes.
        """
        if len(self.shape) > protocol.MOST_DIMENSIONS:
            raise InputError(f"tensor {self.name!r} has {len(self.shape)} dimensions", "firmware takes at most 6")
        shape = ", ".join(f"{d}u" for d in self.shape) or "0"
        return (
            f"{{{_c_text(self.name)}, {self.bytes}u, {_c_float(self.scale)}, {self.zero_point}, "
            f"{self.code.value}u, {len(self.shape)}u, {{{shape}}}}}"
        )


@dataclass(frozen=True)
class AppModel:
    """A model as the serial applications see it.

    Args:
        name: The model's name; "kws01", "ic01" and so on are what the MLPerf Tiny runner knows.
        digest: Hex SHA-256 of what the firmware was generated from.
        inputs: In the order of ``model_inputs``.
        outputs: In the order of ``model_outputs``.
        tasks: Name to indices of its outputs, in the order of the bits of the task mask.
        arena_bytes: RAM of the model's tensors.
        hears: There are ``sound.h`` and ``sound.c``, which make inputs of samples.
        prefix: What a library of it is called.
        parts: The models it consists of where they have prefixes of their own.
        exits: Early exits.
    """

    name: str
    digest: str
    inputs: tuple[AppTensor, ...]
    outputs: tuple[AppTensor, ...]
    tasks: dict[str, tuple[int, ...]]
    arena_bytes: int = 0
    hears: bool = False
    prefix: str = DEFAULT
    parts: tuple[Part, ...] = ()
    exits: tuple[ProjectExit, ...] = ()

    def __post_init__(self) -> None:
        for what, entries in (("inputs", self.inputs), ("outputs", self.outputs), ("tasks", self.tasks)):
            if not 1 <= len(entries) <= protocol.MOST_TENSORS:
                remedy = f"firmware takes 1 to {protocol.MOST_TENSORS}"
                # Besides the logits of each, an output for every task with exits says by which it left.
                told = len(self.exits) + len({e.task for e in self.exits})
                if what == "outputs" and self.exits and len(entries) - told <= protocol.MOST_TENSORS:
                    remedy += f"; {told} of them are of early exits: generate with --no-exits"
                raise InputError(f"the model has {len(entries)} {what}", remedy)


def app_model_of(project: Project, digest: str, name: str | None = None) -> AppModel:
    """What the applications have to know of a generated project."""

    def tensors(ports: Sequence[Port]) -> tuple[AppTensor, ...]:
        return tuple(AppTensor(p.name, p.dtype, p.shape, p.scale, p.zero_point) for p in ports)

    return AppModel(
        name or project.name,
        digest,
        tensors(project.inputs),
        tensors(project.outputs),
        {task.name: task.outputs for task in project.tasks},
        project.arena_bytes,
        "sound.h" in project.files,
        project.prefix,
        project.parts,
        project.exits,
    )


def app_config(model: AppModel) -> str:
    """app_config.h."""
    values = {
        "APP_INPUTS": f"{len(model.inputs)}u",
        "APP_OUTPUTS": f"{len(model.outputs)}u",
        "APP_TASKS": f"{len(model.tasks)}u",
        "APP_INPUT_BYTES": f"{sum(tensor.bytes for tensor in model.inputs)}u",
        "APP_INPUT_DTYPE": f"{model.inputs[0].code.value}u",
        "APP_OUTPUT_ELEMENTS": f"{prod(model.outputs[0].shape)}u",
        "APP_ARENA_BYTES": f"{model.arena_bytes}u",
        "APP_MODEL_NAME": _c_text(model.name),
        **({"APP_SOUND": "1"} if model.hears else {}),
        **({"APP_EXITS": f"{len(model.exits)}u"} if model.exits else {}),
    }
    lines = [f"#define {name} {value}" for name, value in values.items()]
    return "\n".join(["#ifndef APP_CONFIG_H", "#define APP_CONFIG_H", *lines, "#endif", ""])


def app_model(model: AppModel) -> str:
    """app_model.c."""

    def table(kind: str, name: str, size: str, rows: Sequence[str]) -> list[str]:
        return [f"const {kind} {name}[{size}] = {{", *(f"    {row}," for row in rows), "};"]

    tasks = [f"{{{_c_text(name)}, {sum(1 << output for output in outputs)}u}}" for name, outputs in model.tasks.items()]
    digest = ", ".join(f"0x{byte:02x}u" for byte in bytes.fromhex(model.digest))
    return "\n".join(
        [
            '#include "app.h"',
            *table("app_tensor", "app_inputs", "APP_INPUTS", [t.c_initialiser() for t in model.inputs]),
            *table("app_tensor", "app_outputs", "APP_OUTPUTS", [t.c_initialiser() for t in model.outputs]),
            *table("app_task", "app_tasks", "APP_TASKS", tasks),
            f"const uint8_t app_model_digest[32] = {{{digest}}};",
            *_exits(model),
            *parts_source(model.parts, [t.bytes for t in model.inputs], [t.bytes for t in model.outputs]),
            "",
        ]
    )


def _exits(model: AppModel) -> list[str]:
    """The exits' table and what opens them again; nothing without exits."""
    if not model.exits:
        return []
    prefixes = [(p.prefix, p.exits) for p in model.parts if p.exits] or [(DEFAULT, len(model.exits))]
    places = [f"&{prefix}_exits[{k}]" for prefix, count in prefixes for k in range(count)]
    rows = [
        f"    {{{place}, {e.task}u, {e.number}u, {e.output}u, {e.said}u, {e.whole}u}},"
        for place, e in zip(places, model.exits, strict=True)
    ]
    resets = [f"    {prefix}_exits_reset(0);" for prefix, _ in prefixes]
    return ["const app_exit app_exits[APP_EXITS] = {", *rows, "};", "void app_open_exits(void) {", *resets, "}"]


def _c_text(text: str) -> str:
    # Two question marks in a row begin a trigraph in C11; an escaped one begins none.
    return json.dumps(protocol.firmware_text(text)).replace("?", r"\?")


def _c_float(value: float) -> str:
    return f"{float(np.float32(value)).hex()}f"
