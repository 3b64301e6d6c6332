"""Why a network camera shows no video: asked in the words of RTSP (RFC 2326), as decoders do not tell."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from urllib.parse import urlsplit

PORT = 554
FORM = "rtsp://user:password@camera/path"
ESCAPES = "% : / ? # @ in them as %25 %3A %2F %3F %23 %40"
_LONGEST_LINE = 1024


def why_no_video(url: str, timeout_s: float) -> tuple[str, str] | None:
    """What the camera says when it is asked for its description without a password.

    Args:
        url: As typed, beginning with ``rtsp://``; one that gave no video.
        timeout_s: Seconds for an answer.

    Returns:
        What is wrong, as the end of a sentence that begins with the camera, and the remedy; None where that tells
        nothing.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORT
        asked = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    except ValueError:
        return "is no address", f"write {FORM}, with {ESCAPES}"
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(f"DESCRIBE {asked} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n".encode())
            line = _line(connection, time.monotonic() + timeout_s).decode("ascii", "replace")
    except socket.gaierror:
        return f"has no address in the network: {host} is not known", "check the camera's name"
    except ConnectionRefusedError:
        return f"does not listen at port {port}", "check the port, and whether the camera has RTSP switched on"
    except TimeoutError:
        return f"said nothing for {timeout_s:g} s", "check the address, and whether the camera is on"
    except (OSError, UnicodeError) as error:
        return f"cannot be reached ({error})", "check the address and the network"
    status = re.match(r"RTSP/1\.\d (\d{3})", line)
    with contextlib.suppress(KeyError):
        return _said(status[1] if status else "", parts.password is not None)
    return None


def _line(connection: socket.socket, end_s: float) -> bytes:
    """The first line; what sends it letter by letter gets no more time than others."""
    line = b""
    while b"\n" not in line and len(line) < _LONGEST_LINE:
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        more = connection.recv(_LONGEST_LINE)
        if not more:
            break
        line += more
    return line


def _said(status: str, has_password: bool) -> tuple[str, str]:
    login = (
        ("refused user or password", f"check both, with {ESCAPES}")
        if has_password
        else ("asks for user and password", f"write {FORM}")
    )
    return {
        "401": login,
        "403": ("may not be watched by this machine", "allow it in the camera's settings"),
        "404": ("has no such path", "look the path up in the camera's manual; it is often /stream1 or /h264"),
        "": ("does not speak RTSP", "check the port; RTSP's own is 554"),
    }[status]
