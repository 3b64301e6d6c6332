"""What may crash or print, in a process of its own: ``python -m multigraft.runtime.doctor.probe WHAT NAME``.

Prints one line of JSON. Importing a package is not enough to know that it works: tflite-runtime imports beside numpy 2
and fails when an interpreter is made, and kernels for another processor end with SIGILL.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from typing import Any

from multigraft.errors import MultigraftError
from multigraft.installing import how_missing, install_extra, install_package, repair


def interpreter(name: str) -> dict[str, Any]:
    """Make an interpreter, run two convolutions on it, and look whether XNNPACK took them."""
    import numpy as np

    from multigraft.runtime.doctor.probe_model import EXPECTED, INPUT, OUTPUT, SIGNATURE, probe_input, probe_model
    from multigraft.runtime.tflite_model import TfliteModel

    model = TfliteModel(probe_model(), name)  # type: ignore[arg-type]
    graph = model.subgraph(SIGNATURE)
    graph.inputs[INPUT][...] = probe_input()
    graph.invoke()
    answer = graph.outputs[OUTPUT].ravel().astype(np.int32)
    return {
        "version": str(model.backend),
        "lsb": int(np.abs(answer - EXPECTED).max()),
        "xnnpack": bool(model.has_delegate()),
        "direct": graph.direct,
    }


def delegate() -> dict[str, Any]:
    """Run a small binary network with the delegate, and look whether its answers are right."""
    from multigraft.runtime.backends import load_backend
    from multigraft.runtime.delegate.canary import fault_of
    from multigraft.runtime.delegate.choosing import known_versions
    from multigraft.runtime.delegate.library import available_kernels

    kernels, backend = available_kernels(), load_backend()
    fault = fault_of(backend.name)
    return {"version": str(backend), "kernels": kernels[0], "fault": fault, "known": known_versions()}


def package(name: str, usual: str) -> dict[str, Any]:
    """Import a package the way it is used."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        is_there = not isinstance(error, ModuleNotFoundError) or how_missing(error) != "not installed"
        return {"state": "wrong" if is_there else "missing", "said": how_missing(error), "remedy": repair(error, usual)}
    top = name.partition(".")[0]
    version = getattr(module, "__version__", "") or _version_of(top)
    return {"state": "ok", "said": str(version) or "installed", "remedy": ""}


def cameras() -> list[dict[str, Any]]:
    """The cameras on the ribbon cable, as libcamera lists them."""
    from picamera2 import Picamera2

    return [
        {"model": camera.get("Model", "?"), "number": camera.get("Num", 0)} for camera in Picamera2.global_camera_info()
    ]


def usual_remedy(what: str) -> str:
    """What installs a package that is not there: an extra of multigraft, or a requirement."""
    kind, _, name = what.partition("=")
    return install_extra(name) if kind == "extra" else install_package(name)


def _version_of(package: str) -> str:
    names = importlib.metadata.packages_distributions().get(package, [])
    return importlib.metadata.version(names[0]) if names else ""


def _main(what: str, *arguments: str) -> object:
    try:
        if what == "interpreter":
            return interpreter(*arguments)
        if what == "cameras":
            return cameras()
        if what == "delegate":
            return delegate()
        return package(arguments[0], usual_remedy(arguments[1]))
    except MultigraftError as error:
        return {"error": error.problem, "remedy": error.remedy}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", "remedy": ""}


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
