"""The client speaks what a server takes, and no server hurts it: hostile ones cost their deadline and one sentence."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.errors import ConfigurationError, UsageError
from multigraft.runtime.offload.exchange import Exchange, ExchangeError
from multigraft.runtime.offload.inference_client import FORMS, InferenceClient, NotAnsweredError
from multigraft.runtime.offload.server_address import ServerAddress
from multigraft.tensors.arrays import Array
from tests.bundle_builder import build
from tests.runtime.offload.oip_server import OipServer, oip_server, raw_server, read_request
from tests.runtime.service.served import serving

GIVEN: dict[str, Array] = {"a/x": np.arange(6, dtype=np.uint8), "a/x:low": np.array([0.5], np.float32)}
WANTED = {"a/y": (1, 6)}
LONG_S, SHORT_S = 20.0, 0.4


def twice(inputs: dict[str, Array]) -> dict[str, Array]:
    return {"a/y": (2 * inputs["a/x"] + inputs["a/x:low"]).astype(np.float32).reshape(1, -1)}


@pytest.fixture
def server() -> Iterator[OipServer]:
    with oip_server({"home": (("a/x", "a/x:low"), twice)}) as one:
        yield one


def client_of(url: str, **how: Any) -> InferenceClient:
    return InferenceClient(Exchange(ServerAddress.parse(url, **how)))


def asked(client: InferenceClient, seconds: float = LONG_S) -> list[float]:
    answer: list[float] = client.infer("home", GIVEN, WANTED, time.monotonic() + seconds)["a/y"].reshape(-1).tolist()
    return answer


@pytest.mark.parametrize("form", FORMS)
def test_a_server_is_asked_in_the_leanest_form_it_takes(server: OipServer, form: str) -> None:
    server.accepts = {form, "json"}
    client = client_of(server.url)
    for _ in range(3):
        assert asked(client) == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert client.form == form
    # What it does not take is tried once.
    assert len(server.seen) == 3 + FORMS.index(client.form)
    assert all("content-type" in headers for _, _, headers in server.seen)
    assert server.connections == 1
    assert len(set(server.ids)) == 3


def test_the_search_for_a_form_goes_on_where_a_deadline_ended_it(server: OipServer) -> None:
    server.accepts, server.delay_s = {"json"}, 0.15
    client = client_of(server.url)
    for _ in range(40):
        try:
            assert asked(client, SHORT_S)
            break
        except ExchangeError:
            pass
    assert client.form == "json"


def test_a_server_that_no_longer_takes_a_form_is_asked_in_another(server: OipServer) -> None:
    client = client_of(server.url)
    assert asked(client)
    server.accepts = {"json"}
    with pytest.raises(NotAnsweredError):
        asked(client)
    assert asked(client)
    assert client.form == "json"


def test_a_connection_that_was_closed_between_two_frames_is_opened_again(server: OipServer) -> None:
    client = client_of(server.url)
    asked(client)
    for one in list(server.open):
        one.shutdown(socket.SHUT_RDWR)
    assert asked(client)
    assert server.connections == 2


def test_metadata_and_a_model_that_is_not_there(server: OipServer) -> None:
    client = client_of(server.url)
    assert client.inputs_of("home", time.monotonic() + LONG_S) == ("a/x", "a/x:low")
    with pytest.raises(NotAnsweredError, match="has no model other"):
        client.inputs_of("other", time.monotonic() + LONG_S)


def test_the_token_goes_along(server: OipServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    asked(client_of(server.url, token_file=tmp_path / "token"))
    assert server.seen[0][2]["authorization"] == "Bearer secret"
    (tmp_path / "token").write_text("two\nlines")
    with pytest.raises(ConfigurationError, match="no token"):
        client_of(server.url, token_file=tmp_path / "token")


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_refusal_is_said(server: OipServer, status: int) -> None:
    server.refusal = status
    with pytest.raises(NotAnsweredError) as caught:
        asked(client_of(server.url))
    assert caught.value.status == status
    assert caught.value.may_pass == (status in (429, 500, 503))


def test_our_own_service_answers(tmp_path: Path) -> None:
    built = build(float32=True)
    built.bundle.write(tmp_path / "home.graft")
    with serving(tmp_path, str(tmp_path / "home.graft"), "--source", "fake:40x30", "--rate", "20") as service:
        service.until(service.is_well)
        client = client_of(f"http://127.0.0.1:{service.port}")
        given = {"image": built.inputs[0].astype(np.float32)}
        answer = client.infer("digit", given, {"digit/out": (1, 10)}, time.monotonic() + 60)
    assert client.form == "binary"
    assert answer["digit/out"].shape == (1, 10)


def reply(head: object, tail: bytes = b"", extra: str = "") -> bytes:
    """A whole answer."""
    told = head if isinstance(head, bytes) else json.dumps(head).encode()
    split = f"Inference-Header-Content-Length: {len(told)}\r\n" if tail else ""
    return f"HTTP/1.1 200 OK\r\n{split}{extra}Content-Length: {len(told) + len(tail)}\r\n\r\n".encode() + told + tail


def output(**changes: object) -> dict[str, list[dict[str, object]]]:
    entry: dict[str, object] = {"name": "a/y", "datatype": "FP32", "shape": [1, 6], "data": [0] * 6} | changes
    return {"outputs": [entry]}


HOSTILE = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "head without end": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000,
    "long line": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000,
    "continues": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "body cut": reply(output())[:-4],
    "huge body": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + bytes(1 << 20),
    "endless chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"8000\r\n" + bytes(32768) + b"\r\n") * 40,
    "chunk of negative length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n",
    "no JSON": reply(b"<html>"),
    "deep JSON": reply(b"[" * 60_000),
    "list": reply([1, 2]),
    "no outputs": reply({}),
    "error with 200": reply({"error": "no"}),
    "another output": reply(output(name="b/y")),
    "twice": reply({"outputs": output()["outputs"] * 2}),
    "another shape": reply(output(shape=[6, 1])),
    "another type": reply(output(datatype="FP64")),
    "too few": reply(output(data=[0] * 5)),
    "ragged": reply(output(data=[[0, 1], [2]])),
    "texts": reply(output(data=["a"] * 6)),
    "not finite": reply(output(data=[float("nan")] * 6)),
    "too large for float32": reply(output(data=[1e300] * 6)),
    "bytes beyond the end": reply(output(parameters={"binary_data_size": 9999}), bytes(24)),
    "bytes below zero": reply(output(parameters={"binary_data_size": -24}), bytes(24)),
    "length of the head wrong": reply(output()).replace(
        b"Content-Length", b"Inference-Header-Content-Length: 99999\r\nContent-Length"
    ),
    "answer of another frame": reply({"id": "77", **output()}),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_is_refused(answer: bytes) -> None:
    with raw_server(lambda taken: taken.sendall(answer)) as url, pytest.raises(ExchangeError, match=url):
        asked(client_of(url), SHORT_S * 5)


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"])
def test_a_server_that_drips_ends_at_the_deadline(before: bytes) -> None:
    ended = threading.Event()

    def drip(taken: socket.socket) -> None:
        taken.sendall(before)
        while not ended.wait(0.02):
            taken.sendall(b"H")

    with raw_server(drip) as url, pytest.raises(ExchangeError, match="did not answer in time"):
        try:
            asked(client_of(url), SHORT_S)
        finally:
            ended.set()


def test_a_server_that_says_nothing_ends_at_the_deadline() -> None:
    with raw_server(lambda taken: time.sleep(5)) as url, pytest.raises(ExchangeError, match="did not answer in time"):
        asked(client_of(url), SHORT_S)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ExchangeError, match="cannot be asked"):
        asked(client_of(url))


def test_addresses_that_do_not_answer_share_the_deadline(server: OipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(port: int) -> tuple[Any, ...]:
        return socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)

    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        silent = at(full.getsockname()[1])
        client = client_of(server.url)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [silent, silent, at(server.port)])
        assert asked(client, 6.0)


def test_a_name_that_nobody_looks_up_costs_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ends.wait(60))
    with pytest.raises(ExchangeError, match="did not answer in time"):
        asked(client_of("http://server.example"), SHORT_S)
    assert not ends.is_set()
    ends.set()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="hardware: no openssl makes certificates")
def test_tls_is_checked(tmp_path: Path) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    body = reply(output(data=[1, 2, 3, 4, 5, 6]))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            taken, _ = listener.accept()
            try:
                with context.wrap_socket(taken, server_side=True) as safe:
                    read_request(safe)
                    safe.sendall(body)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ExchangeError, match="not trusted"):
        asked(client_of(url))
    assert asked(client_of(url, ca_file=tmp_path / "cert.pem")) == [1, 2, 3, 4, 5, 6]
    thread.join()
    listener.close()


@pytest.mark.parametrize(
    "url",
    [
        "server:8000",
        "ftp://server",
        "http://",
        "http://server:99999",
        "http://a/?q=1",
        "http://server/a b",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="http://server:8000"):
        ServerAddress.parse(url)


def test_addresses() -> None:
    one = ServerAddress.parse("https://server/team/v2/")
    assert (one.host, one.port, one.tls, one.path) == ("server", 443, True, "/team")
    with pytest.raises(UsageError, match="token"):
        ServerAddress.parse("http://user:secret@server")
    with pytest.raises(UsageError, match="token") as caught:
        ServerAddress.parse("http://user:se/cret@server")
    assert "cret" not in str(caught.value)
