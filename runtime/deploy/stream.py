"""How a bundle goes through a pipe: a line of JSON with size, SHA-256 and signature, then the .graft file's bytes.

Whatever ends early or differs is refused before any of it is written.
"""

from __future__ import annotations

import json
from typing import BinaryIO

from multigraft import files
from multigraft.errors import InputError
from multigraft.reading import UnreadableError, parse_json
from multigraft.runtime.deploy.signatures import LARGEST_GRAFT, LARGEST_KEY

VERSION = 1
_LARGEST_LINE = 4 * LARGEST_KEY
_CHUNK = 1 << 20


def packed(data: bytes, signature: bytes | None) -> bytes:
    """The header of a stream that goes on with ``data``."""
    header = {
        "deploy": VERSION,
        "size": len(data),
        "sha256": files.sha256_of(data),
        "signature": None if signature is None else signature.decode("latin-1"),
    }
    return json.dumps(header).encode() + b"\n"


def unpacked(stream: BinaryIO) -> tuple[bytes, bytes | None]:
    """Content and signature of the .graft file that comes by a stream.

    Raises:
        InputError: It ends early, is none, or is not what it says.
    """
    line = stream.readline(_LARGEST_LINE)
    try:
        header = parse_json(line)
    except UnreadableError:
        header = None
    if not isinstance(header, dict) or header.get("deploy") != VERSION or not line.endswith(b"\n"):
        raise InputError("what came is no bundle", "send it with: multigraft deploy --host, of the same version")
    size, signature = header.get("size"), header.get("signature")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_GRAFT:
        raise InputError(f"the sender says a size of {size!r:.40}", "build a smaller bundle")
    if not (signature is None or (isinstance(signature, str) and len(signature) <= LARGEST_KEY)):
        raise InputError("the signature that came is damaged", "sign the bundle again")
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(min(_CHUNK, size - len(data)))
        if not chunk:
            raise InputError(f"the connection ended after {len(data)} of {size} bytes", "deploy again")
        data += chunk
    if files.sha256_of(data) != header.get("sha256"):
        raise InputError("the bundle was changed on its way", "deploy again")
    try:
        return bytes(data), None if signature is None else signature.encode("latin-1")
    except UnicodeEncodeError:
        raise InputError("the signature that came is damaged", "sign the bundle again") from None
