"""The Open Inference Protocol, version 2, over HTTP with its binary extension.

https://github.com/kserve/open-inference-protocol and Triton's extension_binary_data.md. Each task is a model that takes
the network's stored tensors and gives the task's; the bundle itself is a model that takes frames as a camera gives them
and answers each task in JSON.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from multigraft import __version__
from multigraft.runtime.http.exchange import Request, Response, busy, json_response
from multigraft.runtime.http.guard import RefusedError
from multigraft.runtime.http.loop_side import LoopSide
from multigraft.runtime.http.tensors import Expected, read_input, write_output
from multigraft.tensors.arrays import Array

VERSION = "1"
_LENGTH = "inference-header-content-length"
_MOST_INPUTS = 64
MOST_JSON = 8 << 20
"""Bytes of the JSON part, which takes eight times as much memory once it is read; larger tensors come as bytes."""


class Models:
    """Answers what lies under ``/v2``.

    Args:
        loop: Runs what is asked for, and knows what there is.
    """

    def __init__(self, loop: LoopSide) -> None:
        self._loop = loop
        self._known: dict[str, dict[str, Any]] = {}

    async def answer(self, request: Request, path: str) -> Response:
        """One request.

        Raises:
            RefusedError: It is none of the protocol, or not of a model that there is.
        """
        parts = path.split("/")[2:]
        if not self._known:
            self._known = {model["name"]: model for model in await self._loop.ask("models")}
        match parts:
            case []:
                return json_response(
                    {"name": "multigraft", "version": __version__, "extensions": ["binary_tensor_data"]}
                )
            case ["health", "live"]:
                return json_response({"live": True})
            case ["health", "ready"]:
                health = (await self._loop.figures())["health"]
                return json_response({"ready": health["ok"]}, 200 if health["ok"] else 503)
            case ["models"]:
                return json_response({"models": self._listed()})
            case ["repository", "index"]:
                return json_response(self._listed())
            case ["models", name, *rest]:
                if rest[:1] == ["versions"]:
                    if rest[1:2] != [VERSION]:
                        raise RefusedError(404, f"there is version {VERSION} of every model, and no other")
                    rest = rest[2:]
                return await self._of_model(request, self._model(name), rest)
        raise RefusedError(404, "the protocol has no such address")

    def _listed(self) -> list[dict[str, str]]:
        return [{"name": name, "version": VERSION, "state": "READY"} for name in self._known]

    def _model(self, name: str) -> dict[str, Any]:
        if name not in self._known:
            raise RefusedError(404, f"there is no model {name[:80]!r}; choose from: {', '.join(self._known)}")
        return self._known[name]

    async def _of_model(self, request: Request, model: dict[str, Any], rest: list[str]) -> Response:
        if rest == ["infer"]:
            if request.method != "POST":
                raise RefusedError(405, "ask with POST", {"allow": "POST"})
            return await self._infer(request, model)
        if rest == ["ready"]:
            return json_response({"name": model["name"], "ready": True})
        if not rest:
            told = {key: model[key] for key in ("name", "platform", "inputs", "outputs", "parameters")}
            return json_response({**told, "versions": [VERSION]})
        raise RefusedError(404, "the protocol has no such address")

    async def _infer(self, request: Request, model: dict[str, Any]) -> Response:
        raw = await request.body()
        header, binary = _split(raw, request.headers.get(_LENGTH))
        inputs = _inputs(header, binary, model)
        names = [output["name"] for output in model["outputs"]]
        wanted, is_binary = _wanted(header, names)
        described = [
            {"name": name, "dtype": values.dtype.name, "shape": list(values.shape)} for name, values in inputs.items()
        ]
        asked = {"model": model["name"], "outputs": list(wanted), "inputs": described}
        body = b"".join(np.ascontiguousarray(values).tobytes() for values in inputs.values())
        answer = await self._loop.ask("infer", asked, body)
        if "refused" in answer:
            raise RefusedError(400, answer["refused"])
        if "busy" in answer:
            raise busy()
        return _response(header, model, answer["outputs"], wanted, is_binary)


def _split(raw: bytes, length: str | None) -> tuple[dict[str, Any], memoryview]:
    end = len(raw)
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= len(raw)):
            raise RefusedError(400, "Inference-Header-Content-Length is no length of a part of the body")
        end = int(length)
    if end > MOST_JSON:
        raise RefusedError(413, f"the JSON part has {end} bytes and may have {MOST_JSON}; send tensors as binary data")
    try:
        header = json.loads(raw[:end])
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the body is not JSON") from error
    if not isinstance(header, dict):
        raise RefusedError(400, "the body is no JSON object")
    return header, memoryview(raw)[end:]


def _inputs(header: dict[str, Any], binary: memoryview, model: dict[str, Any]) -> dict[str, Array]:
    expected = {
        given["name"]: Expected(
            given["name"], given["datatype"], tuple(given["shape"]), "grey" in given.get("parameters", {})
        )
        for given in model["inputs"]
    }
    listed = header.get("inputs")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_INPUTS:
        raise RefusedError(400, "there are no inputs")
    inputs: dict[str, Array] = {}
    for given in listed:
        name, values, taken = read_input(given, expected, binary)
        inputs[name], binary = values, binary[taken:]
    if len(binary):
        raise RefusedError(400, f"{len(binary)} bytes of binary data belong to no input")
    return inputs


def _wanted(header: dict[str, Any], names: list[str]) -> tuple[dict[str, bool | None], bool]:
    """Output to whether it is asked for as bytes, None where nothing is said; and what holds for those."""
    parameters = header.get("parameters")
    is_binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    listed = header.get("outputs")
    if listed is None or listed == []:
        return dict.fromkeys(names), is_binary
    if not isinstance(listed, list) or not all(isinstance(o, dict) for o in listed):
        raise RefusedError(400, "outputs is no list of objects")
    wanted: dict[str, bool | None] = {}
    for output in listed:
        name, how = output.get("name"), output.get("parameters")
        if name not in names:
            raise RefusedError(400, f"there is no output {str(name)[:80]!r}; choose from: {', '.join(names)}")
        if isinstance(how, dict) and how.get("classification"):
            raise RefusedError(
                400, "the classification extension is not spoken; ask the bundle's own model for answers"
            )
        wanted[name] = how.get("binary_data") if isinstance(how, dict) else None
    return wanted, is_binary


def _response(
    header: dict[str, Any],
    model: dict[str, Any],
    outputs: dict[str, Any],
    wanted: dict[str, bool | None],
    is_binary: bool,
) -> Response:
    entries, tails = [], []
    for name, how in wanted.items():
        entry, tail = write_output(name, outputs[name], is_binary if how is None else bool(how))
        entries.append(entry)
        tails.append(tail)
    said: dict[str, Any] = {"model_name": model["name"], "model_version": VERSION, "outputs": entries}
    if isinstance(header.get("id"), str):
        said["id"] = header["id"][:256]
    head, tail = json.dumps(said).encode(), b"".join(tails)
    if not tail:
        return Response(head)
    return Response(head + tail, "application/octet-stream", headers={_LENGTH: str(len(head))})
