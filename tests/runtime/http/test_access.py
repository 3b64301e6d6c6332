"""Who may ask what: tokens, other sites' pages, and clients that mean harm while frames go on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multigraft.runtime.http.guard import Guard, RefusedError, is_loopback
from tests.bundle_builder import build
from tests.runtime.service.served import Served, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("access")
    build().bundle.write(path / "home.graft")
    return path


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with serving(folder, str(folder / "home.graft"), "--source", "fake:", "--rate", "40") as service:
        service.until(service.is_well)
        yield service


def test_others_than_this_machine_need_the_token_that_was_made(folder: Path, tmp_path: Path) -> None:
    arguments = (str(folder / "home.graft"), "--source", "fake:", "--rate", "20")
    with serving(tmp_path, *arguments, listen="0.0.0.0") as service:
        path = tmp_path / "state" / "token"
        service.until(lambda: path.exists() and b"give the token" in _said(service))
        assert path.stat().st_mode & 0o777 == 0o600
        assert f"to who has the token in {path}" in service.log.read_text()
        token = path.read_text().strip()
        for page in ("/", "/healthz", "/metrics", "/live/picture", "/v2/models"):
            assert service.ask(page)[0] == 401
            assert service.ask(page, headers={"authorization": "Bearer wrong"})[0] == 401
        service.until(lambda: service.ask("/healthz", headers={"authorization": f"Bearer {token}"})[0] == 200)
        # A browser is given it once, and keeps it where no script can read it.
        status, headers, _ = service.ask(f"/?token={token}")
        assert (status, headers["location"]) == (303, "/")
        assert "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"]
        assert service.ask("/", headers={"cookie": headers["set-cookie"].partition(";")[0]})[0] == 200


def _said(service: Served) -> bytes:
    with contextlib.suppress(OSError):
        return service.ask("/healthz")[2]
    return b""


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8080"},
        {"host": "192.168.1.7:8080"},
        {"host": "localhost", "origin": "https://evil.example"},
        {"host": "localhost", "origin": "null"},
        {"host": "localhost", "sec-fetch-site": "cross-site"},
        {},
    ],
)
def test_a_page_of_another_site_gets_nothing(headers: dict[str, str]) -> None:
    with pytest.raises(RefusedError) as refused:
        Guard(None).check("POST", headers, "")
    assert refused.value.status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LOCALHOST."])
def test_this_machine_is_let_through(host: str) -> None:
    Guard(None).check("POST", {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}, "")


def test_what_is_this_machine_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.2", "pi", "")))


def test_pages_say_what_may_be_done_with_them(served: Served) -> None:
    status, headers, body = served.ask("/")
    assert status == 200 and b"live.js" in body
    assert "default-src 'self'" in headers["content-security-policy"]
    assert served.ask("/", "POST")[0] == 405
    assert served.ask("/nothing")[0] == 404
    assert served.ask("/live/picture")[2].startswith(b"\xff\xd8")
    status, headers, body = served.ask("/healthz", "HEAD")
    assert (status, body) == (200, b"")


SLOW_HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
SLOW_BODY = b"POST /v2/models/digit/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n{"
SECONDS = 5.0
HOSTILE = (
    SLOW_HEAD,
    SLOW_BODY,
    b"POST /v2/models/digit/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"POST /v2/models/digit/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n"
    + b"x" * 5000,
    b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 40_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20,
    b"POST /v2/models/digit/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    b"",
    b"POST /v2/models/digit/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000\r\n\r\n" + b"[" * 50_000,
)


def attack(port: int, number: int, stop: threading.Event) -> None:
    """One client: sends what it should not, slowly where that is its way, and comes again."""
    payload = HOSTILE[number % len(HOSTILE)]
    while not stop.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as line:
            line.settimeout(1.0)
            line.sendall(payload)
            while payload in (SLOW_HEAD, SLOW_BODY, b"") and not stop.wait(0.5):
                line.sendall(payload[-1:] or b"G")
            while line.recv(65536) and not stop.is_set():
                pass
        stop.wait(0.05)


def test_a_hundred_hostile_clients_do_not_slow_the_loop(served: Served) -> None:
    stop = threading.Event()
    clients = 100
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        try:
            for number in range(clients):
                pool.submit(attack, served.port, number, stop)
            begin = _state(served)
            while (end := _state(served))["uptime_s"] - begin["uptime_s"] < SECONDS:
                pass
        finally:
            stop.set()
    rate = (end["frames"] - begin["frames"]) / (end["uptime_s"] - begin["uptime_s"])
    # 40 a second were asked for, and the clients share the processor with the service.
    assert rate > 20, rate
    print(f"{rate:.1f} frames a second of 40 during the attack")
    assert end["errors"] == {}
    refused = served.ask("/metrics")[2].decode()
    for reason in ("malformed", "oversized"):
        assert f'http_refused_total{{reason="{reason}"}}' in refused
    assert served.process.poll() is None
    body = json.dumps({"inputs": [{"name": "frame", "shape": [1, 1], "datatype": "UINT8", "data": [0]}]}).encode()
    assert served.ask("/v2/models/test/infer", "POST", body)[0] == 200


def _state(served: Served) -> dict[str, Any]:
    """What the page is told; a client that is crowded out comes again."""
    found: list[dict[str, Any]] = []

    def ask() -> bool:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            found.append(served.json("/live/state"))
        return bool(found) and "uptime_s" in found[-1]

    served.until(ask)
    return found[-1]
