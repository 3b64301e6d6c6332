"""PyTorch networks to ONNX through torch.onnx; torch is imported only here, when asked for.

Both ways run code of whoever wrote the network: callers ask for consent first (:mod:`.consent`).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner

from multigraft.converters.importing.simplify import OPSET
from multigraft.errors import InputError, MissingDependencyError, UnsupportedOperatorError, one_line
from multigraft.installing import failed_import, how_missing, install_extra, repair
from multigraft.own_code import import_path, named_function

SAFE_WEIGHTS_ONLY = (2, 6)
"""First version of PyTorch whose ``weights_only`` keeps what it promises."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts commonly store the state dict proper."""


def export_program(path: Path) -> onnx.ModelProto:
    """A .pt2 exported program (``torch.export.save``) as ONNX.

    Raises:
        InputError: It is missing or not such a file.
        UnsupportedOperatorError: torch.onnx cannot export it.
        MissingDependencyError: PyTorch is not installed.
    """
    torch = _torch()
    if not path.is_file():
        raise InputError(f"{path} does not exist", "check the path")
    with _quiet():
        try:
            program = torch.export.load(str(path))
        except Exception as error:
            raise InputError(
                f"{path} is not an exported program, or not a whole one ({one_line(error)})",
                "write it with torch.export.save",
            ) from error
    return _to_onnx(torch, str(path), program, ())


def export_factory(source: str, shape: tuple[int, ...], state: Path | None, folder: Path) -> onnx.ModelProto:
    """The module that ``module:factory`` returns, in inference mode, as ONNX.

    Args:
        source: ``package.module:function``; the function takes no argument and returns a torch.nn.Module.
        shape: Of the input: (1, channels, height, width).
        state: .pt or .pth (``torch.save`` of a state dict) or .safetensors; None for the weights the factory gives.
        folder: Where the module is looked for first.

    Raises:
        InputError: The module, the function or the state dict is missing or does not fit.
        UnsupportedOperatorError: torch.onnx cannot export it.
        MissingDependencyError: PyTorch is not installed, or safetensors where it is needed.
    """
    torch = _torch()
    module = _build(torch, source, folder)
    if state is not None:
        values = _read_state(torch, state)
        try:
            module.load_state_dict(values)
        except (RuntimeError, TypeError, AttributeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise InputError(
                f"{state} does not fit {source} ({lines[min(1, len(lines) - 1)].rstrip('.')[:300]})",
                "give the state dict of that network",
            ) from error
    return _to_onnx(torch, source, module.eval(), (torch.zeros(shape),))


def _torch() -> Any:
    try:
        importlib.import_module("onnxscript")
        return importlib.import_module("torch")
    except Exception as error:
        missing = failed_import(error) or "torch"
        raise MissingDependencyError(
            f"PyTorch networks need {missing}, which is {how_missing(error)}",
            repair(error, f"export the network to ONNX, or {install_extra('torch')}"),
        ) from error


def _build(torch: Any, source: str, folder: Path) -> Any:
    factory = named_function(source, folder, "returns the network")
    with import_path(folder):
        try:
            module = factory()
        except Exception as error:
            raise InputError(
                f"{source}() fails ({type(error).__name__}: {one_line(error)})", "make it callable without arguments"
            ) from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{source}() returns {type(module).__name__}", "return a torch.nn.Module")
    return module


def _read_state(torch: Any, path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path} does not exist", "check the path")
    if path.suffix.lower() == ".safetensors":
        try:
            load_file = importlib.import_module("safetensors.torch").load_file
        except Exception as error:
            raise MissingDependencyError(
                f"{path} needs safetensors, which is {how_missing(error)}", "install safetensors"
            ) from error
    else:
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < SAFE_WEIGHTS_ONLY:
            raise InputError(
                f"{path} may run code in PyTorch {torch.__version__} (CVE-2025-32434)",
                "install PyTorch 2.6 or newer, or save the weights as .safetensors",
            )

        # weights_only: a pickle from somewhere else must not run code.
        def load_file(name: str) -> Any:
            return torch.load(name, map_location="cpu", weights_only=True)

    try:
        values = load_file(str(path))
    except Exception as error:
        raise InputError(
            f"{path} is not a state dict, or not a whole one ({one_line(error)[:300]})",
            "write it with torch.save(network.state_dict(), path)",
        ) from error
    for key in _WRAPPERS:
        if isinstance(values, dict) and isinstance(values.get(key), dict):
            return values[key]
    return values


def _to_onnx(torch: Any, source: str, module: Any, arguments: tuple[Any, ...]) -> onnx.ModelProto:
    with _quiet():
        try:
            program = torch.onnx.export(module, arguments, dynamo=True, opset_version=OPSET, verbose=False)
        except Exception as error:
            cause = error.__cause__ or error
            raise UnsupportedOperatorError(
                f"{source} cannot be exported by torch.onnx ({one_line(cause)[:300]})",
                "export it to ONNX yourself and give that file",
            ) from error
    model: onnx.ModelProto = program.model_proto
    return onnx.inliner.inline_local_functions(model) if model.functions else model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch.onnx reports progress on stdout and through loggers; only errors concern our user."""
    logger = logging.getLogger("torch")
    level = logger.level
    onnx_logger = logging.getLogger("torch.onnx")
    onnx_level = onnx_logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        onnx_logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
            onnx_logger.setLevel(onnx_level)
