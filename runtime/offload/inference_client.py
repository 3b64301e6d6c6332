"""The Open Inference Protocol, version 2, as a client over HTTP.

https://github.com/kserve/open-inference-protocol and Triton's extension_binary_data.md. Servers take compressed binary
tensors, plain binary ones, or JSON alone, and few announce which: the leanest form is tried first, and the next one
after a refusal. An answer is believed as far as it has the names, types and shapes that were asked for.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from multigraft.runtime.http.guard import RefusedError
from multigraft.runtime.http.tensors import Expected, read_input, write_output
from multigraft.runtime.offload.exchange import Exchange, ExchangeError, Reply
from multigraft.runtime.offload.packet import deflated
from multigraft.tensors.arrays import Array, Float32Array

Form = Literal["deflate", "binary", "json"]
FORMS: tuple[Form, ...] = ("deflate", "binary", "json")
MOST_METADATA = 256 << 10
_LENGTH = "Inference-Header-Content-Length"
_BYTES_A_NUMBER = 32
_BYTES_AROUND = 64 << 10
_BUSY = (429, 503)


class NotAnsweredError(ExchangeError):
    """The server answered that it does not do what was asked; ``status`` is HTTP's."""

    def __init__(self, problem: str, remedy: str, status: int) -> None:
        super().__init__(problem, remedy)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether the same may be answered soon."""
        return self.status in _BUSY or self.status >= 500

    @property
    def is_of_form(self) -> bool:
        """Whether another form may be taken: servers answer 400, 415 or 500 to one that they cannot read."""
        return self.status >= 400 and self.status not in (*_BUSY, 401, 403, 404)


class InferenceClient:
    """Asks a server's models. Not for use from several threads at once.

    Args:
        exchange: The connection.

    Attributes:
        form: What the server is known to take; None until it took one.
        bytes_sent: Of bodies of requests so far, those that were sent again among them.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._left = FORMS
        self._number = 0
        self.form: Form | None = None
        self.bytes_sent = 0

    def close(self) -> None:
        """End the connection; another question makes a new one."""
        self._exchange.close()

    def inputs_of(self, model: str, deadline: float) -> tuple[str, ...]:
        """Names of a model's inputs, as its metadata tells.

        Args:
            model: Its name.
            deadline: Of :func:`time.monotonic`, seconds.

        Raises:
            ExchangeError: The server has no such model, or tells nothing of it.
        """
        reply = self._exchange.ask("GET", _path(model), deadline, MOST_METADATA)
        told = _json_of(reply.body) if reply.status == 200 else None
        if not isinstance(told, dict):
            raise self._refusal(reply, model)
        listed = told.get("inputs")
        names = [e.get("name") for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
        return tuple(name for name in names if isinstance(name, str))

    def ready_s(self, deadline: float) -> float:
        """What the smallest exchange takes, seconds; to be taken off from those that compute something.

        Raises:
            ExchangeError: There is no answer in time.
        """
        begun = time.perf_counter()
        self._exchange.ask("GET", "/v2/health/live", deadline, MOST_METADATA)
        return time.perf_counter() - begun

    def load(self, model: str, config: Mapping[str, Any], content: bytes, deadline: float) -> None:
        """Let the server load an ONNX model that is sent along; it holds it until :meth:`unload`.

        By Triton's extension_model_repository.md, with --model-control-mode=explicit. Other servers refuse.

        Args:
            model: Its name.
            config: As config.pbtxt has it.
            content: The file.
            deadline: Of :func:`time.monotonic`, seconds.

        Raises:
            ExchangeError: The server does not load it.
        """
        files = {"file:1/model.onnx": base64.b64encode(content).decode("ascii")}
        parameters = {"parameters": {"config": json.dumps(config), **files}}
        self._ordered(model, "load", parameters, deadline)

    def unload(self, model: str, deadline: float) -> None:
        """Let the server forget a model.

        Raises:
            ExchangeError: It does not.
        """
        self._ordered(model, "unload", {}, deadline)

    def _ordered(self, model: str, what: str, body: Mapping[str, Any], deadline: float) -> None:
        path = f"/v2/repository/models/{quote(model, safe='')}/{what}"
        headers = {"Content-Type": "application/json"}
        reply = self._exchange.ask("POST", path, deadline, MOST_METADATA, headers, json.dumps(body).encode())
        if reply.status != 200:
            raise NotAnsweredError(
                f"{self._exchange.address.shown} does not {what} models that are sent to it ({reply.status})",
                "start Triton with --model-control-mode=explicit",
                reply.status,
            )

    def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Mapping[str, tuple[int, ...]], deadline: float
    ) -> dict[str, Float32Array]:
        """Ask a model.

        Args:
            model: Its name.
            inputs: Name to array of uint8, int8, int32, int64 or float32.
            outputs: Names to shapes of what it answers with.
            deadline: Of :func:`time.monotonic`, seconds.

        Returns:
            float32 of those shapes, by name.

        Raises:
            NotAnsweredError: The server answered with an error in every form it was asked in.
            ExchangeError: There is no answer in time, or not the one that was asked for.
        """
        self._number += 1
        forms = self._left if self.form is None else (self.form,)
        for form in forms:
            reply = self._asked(model, inputs, outputs, form, deadline)
            if reply.status == 200:
                answer = _read_outputs(reply, outputs, str(self._number), self._exchange.address.shown)
                self.form = form
                return answer
            refusal = self._refusal(reply, model)
            if not refusal.is_of_form:
                break
            # The next frame goes on from here, should this one's time end between two forms. A server that took this
            # form before may be another one now.
            self._left = FORMS if self.form else self._left[1:] or FORMS
            self.form = None
        raise refusal

    def _asked(
        self,
        model: str,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, tuple[int, ...]],
        form: Form,
        deadline: float,
    ) -> Reply:
        head, tail = _request(str(self._number), inputs, tuple(outputs), form != "json")
        headers = {"Content-Type": "application/json" if form == "json" else "application/octet-stream"}
        if form != "json":
            headers[_LENGTH] = str(len(head))
        body = head + tail
        if form == "deflate":
            body, headers["Content-Encoding"] = deflated(body), "deflate"
        self.bytes_sent += len(body)
        numbers = sum(math.prod(shape) for shape in outputs.values())
        most = _BYTES_AROUND + _BYTES_A_NUMBER * numbers
        return self._exchange.ask("POST", f"{_path(model)}/infer", deadline, most, headers, body)

    def _refusal(self, reply: Reply, model: str) -> NotAnsweredError:
        who = self._exchange.address.shown
        if 300 <= reply.status < 400:
            problem, remedy = f"{who} sends elsewhere ({reply.status})", "name the server that answers itself"
        elif reply.status in (401, 403):
            problem, remedy = f"{who} wants another token ({reply.status})", "give it by --offload-token-file"
        elif reply.status == 404:
            problem, remedy = f"{who} has no model {model}", "write it by multigraft export-tail, and let it be loaded"
        else:
            problem, remedy = f"{who} answers {reply.status} when {model} is asked", "look at the server's log"
        return NotAnsweredError(problem, remedy, reply.status)


def _path(model: str) -> str:
    return f"/v2/models/{quote(model, safe='')}"


def _request(
    number: str, inputs: Mapping[str, Array], outputs: tuple[str, ...], is_binary: bool
) -> tuple[bytes, bytes]:
    """The JSON part, and the tensors behind it."""
    entries, tails = [], []
    for name, values in inputs.items():
        # Tensors have one form both ways.
        entry, raw = write_output(name, values, is_binary)
        entries.append(entry)
        tails.append(raw)
    wanted = [{"name": name, **({"parameters": {"binary_data": True}} if is_binary else {})} for name in outputs]
    head: dict[str, Any] = {"id": number, "inputs": entries, "outputs": wanted}
    return json.dumps(head, separators=(",", ":")).encode(), b"".join(tails)


def _read_outputs(
    reply: Reply, outputs: Mapping[str, tuple[int, ...]], number: str, who: str
) -> dict[str, Float32Array]:
    def refuse(why: str) -> ExchangeError:
        return ExchangeError(f"{who} answers what was not asked for: {why}", "look at the server")

    length = reply.headers.get(_LENGTH.lower())
    end = len(reply.body)
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= end):
            raise refuse(f"its {_LENGTH} is no length")
        end = int(length)
    told = _json_of(reply.body[:end])
    listed = told.get("outputs") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise refuse("it has no outputs")
    if told.get("id", number) != number:
        raise refuse("it is the answer of another frame")
    found: dict[str, Float32Array] = {}
    expected = {name: Expected(name, "FP32", shape) for name, shape in outputs.items()}
    binary = memoryview(reply.body)[end:]
    for entry in listed:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise refuse("an output has no name")
        parameters = entry.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is not None and (type(size) is not int or not 0 <= size <= len(binary)):
            raise refuse("an output is longer than the answer")
        if (name := entry["name"]) in outputs:
            try:
                _, values, _ = read_input(entry, expected, binary)
            except RefusedError:
                values = None
            if values is None or name in found or not np.isfinite(values).all():
                raise refuse(f"output {name} is not float32 of shape {list(outputs[name])}")
            found[name] = values
        binary = binary[size or 0 :]
    if missing := outputs.keys() - found.keys():
        raise refuse(f"output {min(missing)} is missing")
    return found


def _json_of(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
