"""Who may ask: a token where others than this machine can, and no web page of somebody else's anywhere."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

COOKIE = "multigraft"


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        status: HTTP status.
        problem: For the client.
        headers: Further ones of the response.
    """

    def __init__(self, status: int, problem: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.headers = dict(headers or {})


class Guard:
    """Lets requests through or raises :class:`RefusedError`.

    Args:
        token: What a client has to know; None where only this machine can ask.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token

    def check(self, method: str, headers: Mapping[str, str], query: str) -> None:
        """Check one request.

        Without a token the name in ``Host`` has to be this machine's: a page of another site whose name was pointed
        at 127.0.0.1 (DNS rebinding) could read the camera otherwise. Requests that a browser sends for another site's
        page are refused in any case.

        Raises:
            RefusedError: 401 or 403.
        """
        host = headers.get("host", "")
        origin = headers.get("origin")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and method != "GET":
            raise RefusedError(403, "this was sent by a page of another site")
        if origin is not None and origin.partition("://")[2] != host:
            raise RefusedError(403, "this was sent by a page of another site")
        if self._token is None:
            if not is_loopback(_name(host)):
                raise RefusedError(403, "ask for 127.0.0.1 or localhost")
            return
        if not hmac.compare_digest(_given(headers, query).encode(), self._token.encode()):
            raise RefusedError(
                401,
                "give the token: in a header 'Authorization: Bearer TOKEN', or once in a browser as ?token=TOKEN",
                {"www-authenticate": "Bearer"},
            )

    def cookie_for(self, query: str) -> str | None:
        """The cookie that keeps the token of ``?token=``, whose request was checked already; None without one."""
        if self._token is None or "token" not in parse_qs(query):
            return None
        return f"{COOKIE}={self._token}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict"


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's and nobody else's."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """``Host`` without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _given(headers: Mapping[str, str], query: str) -> str:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    in_query = parse_qs(query).get("token")
    if in_query:
        return in_query[0]
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value
