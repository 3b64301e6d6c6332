"""A server of the Open Inference Protocol in this process, which may be told to be slow, picky or gone."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from multigraft.tensors.arrays import Array

DTYPES = {"UINT8": "u1", "INT8": "i1", "INT32": "<i4", "INT64": "<i8", "FP32": "<f4"}
Model = tuple[tuple[str, ...], Callable[[dict[str, Array]], dict[str, Array]]]
Models = Mapping[str, Model]


class _Quiet(http.server.ThreadingHTTPServer):
    """Says nothing of clients that go."""

    def handle_error(self, *_: Any) -> None:
        pass


class OipServer:
    """Serves models: name to (names of its inputs, what computes its outputs).

    Attributes:
        loads: Makes a model of a file that is sent along, as Triton does; None refuses.
        accepts: Forms of requests that it takes.
        delay_s: Before every answer.
        refusal: A status that it answers inferences with; 0 answers them.
        seen: Every request: (method, path, headers).
        connections: How many were opened.
    """

    def __init__(self, models: Models, port: int = 0) -> None:
        self.models = dict(models)
        self.loads: Callable[[bytes], Model] | None = None
        self.accepts = {"deflate", "binary", "json"}
        self.delay_s, self.refusal = 0.0, 0
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.connections = 0
        self.ids: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are written apart: the second one would wait 40 ms for a client's delayed acknowledgement.
            disable_nagle_algorithm = True

            def setup(self) -> None:
                outer.connections += 1
                outer.open.add(self.request)
                super().setup()

            def finish(self) -> None:
                outer.open.discard(self.request)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                outer._answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self.open: set[socket.socket] = set()
        self._server = _Quiet(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End at once, with every connection."""
        self._server.shutdown()
        self._server.server_close()
        for one in list(self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {name.lower(): text for name, text in handler.headers.items()}
        self.seen.append((handler.command, handler.path, headers))
        if self.delay_s:
            time.sleep(self.delay_s)
        with contextlib.suppress(OSError):
            status, head, tail = self._told(handler, raw, headers)
            handler.send_response(status)
            if tail:
                handler.send_header("Inference-Header-Content-Length", str(len(head)))
            handler.send_header("Content-Length", str(len(head) + len(tail)))
            handler.end_headers()
            handler.wfile.write(head + tail)

    def _told(
        self, handler: http.server.BaseHTTPRequestHandler, raw: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, bytes]:
        if handler.path == "/v2/health/live":
            return 200, b"", b""
        if handler.path.startswith("/v2/repository/models/"):
            ordered, what = handler.path.split("/")[4:6]
            return self._ordered(ordered, what, raw), b"{}", b""
        name = handler.path.split("/")[3]
        if name not in self.models:
            return 404, b'{"error": "no such model"}', b""
        inputs, compute = self.models[name]
        if handler.command == "GET":
            return 200, json.dumps({"name": name, "inputs": [{"name": n} for n in inputs]}).encode(), b""
        if self.refusal:
            return self.refusal, b"{}", b""
        form = "json"
        if "inference-header-content-length" in headers:
            form = "deflate" if headers.get("content-encoding") == "deflate" else "binary"
        if form not in self.accepts:
            return 400, b"{}", b""
        raw = zlib.decompress(raw) if form == "deflate" else raw
        end = int(headers.get("inference-header-content-length", len(raw)))
        asked, place, feeds = json.loads(raw[:end]), end, {}
        for given in asked["inputs"]:
            dtype = np.dtype(DTYPES[given["datatype"]])
            if form == "json":
                values = np.array(given["data"], dtype)
            else:
                size = given["parameters"]["binary_data_size"]
                values, place = np.frombuffer(raw[place : place + size], dtype), place + size
            feeds[given["name"]] = values.reshape(given["shape"])
        answers = compute(feeds)
        self.ids.append(asked["id"])
        entries, tails = [], []
        for wanted in asked["outputs"]:
            values = answers[wanted["name"]]
            entry = {"name": wanted["name"], "datatype": "FP32", "shape": list(values.shape)}
            if form == "json":
                entry["data"] = values.reshape(-1).tolist()
            else:
                tails.append(values.astype("<f4").tobytes())
                entry["parameters"] = {"binary_data_size": len(tails[-1])}
            entries.append(entry)
        return 200, json.dumps({"model_name": name, "id": asked["id"], "outputs": entries}).encode(), b"".join(tails)

    def _ordered(self, name: str, what: str, raw: bytes) -> int:
        if self.loads is None:
            return 404
        if what == "unload":
            del self.models[name]
            return 200
        self.models[name] = self.loads(base64.b64decode(json.loads(raw)["parameters"]["file:1/model.onnx"]))
        return 200


@contextlib.contextmanager
def oip_server(models: Models, port: int = 0) -> Iterator[OipServer]:
    server = OipServer(models, port)
    try:
        yield server
    finally:
        server.kill()


def read_request(taken: socket.socket) -> None:
    """All of a request: a socket that is closed before resets what it has sent."""
    with taken.makefile("rb") as stream:
        length = 0
        while (line := stream.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        stream.read(length)


@contextlib.contextmanager
def raw_server(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket that waits for a request's head and then does as it likes; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(taken,), daemon=True).start()

    def one(taken: socket.socket) -> None:
        with taken, contextlib.suppress(OSError):
            read_request(taken)
            speak(taken)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        # Only a shutdown wakes who waits in accept.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
