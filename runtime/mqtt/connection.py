"""One connection to a broker, by paho-mqtt: everything that comes from the broker is bounded, and nothing is obeyed.

All of it runs in the thread that calls :meth:`Connection.step`.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from multigraft.errors import ConfigurationError, DeviceError, MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.reading import printable
from multigraft.runtime.mqtt.broker import Broker

KEEPALIVE_S = 30
ANSWER_S = 15.0
"""For a broker to take the connection, and for one message to be confirmed."""
MOST_UNDERWAY = 20
"""Messages that the broker has not confirmed; no further one is sent before it does."""
MOST_READ = 64 << 10
"""Bytes that a broker may send at once; it has to confirm what it was told and to say when Home Assistant starts."""
READ_PER_S = 8 << 10
"""Bytes a second that it may send on average."""
_PART = 4096
_MOST_STATUS = 16


class Connection:
    """A connection.

    Args:
        broker: Which one.
        node: The client's name; the broker ends an older connection of that name.
        will: Topic and text that the broker tells everybody when this connection is lost; None for
            nothing.
        birth: Where Home Assistant says that it has started.

    Raises:
        ConfigurationError: The password or the certificates cannot be read.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, broker: Broker, node: str, will: tuple[str, str] | None, birth: str) -> None:
        paho = load_paho()
        self._paho, self._broker, self._birth = paho, broker, birth
        self._credit, self._then = float(MOST_READ), time.monotonic()
        self._deadline = 0.0
        self._refusal = ""
        self.is_up = False
        self.is_born = False
        """Home Assistant has said that it has started; to be set back by whoever has seen it."""
        self.foreign = 0
        """Messages that nobody asked for."""
        self.underway: dict[int, tuple[Any, float]] = {}
        """Number of a message that is not confirmed yet, to what it was sent with, and since when."""
        outer = self

        class Client(paho.Client):  # type: ignore[misc, name-defined]
            def _sock_recv(self, size: int) -> bytes:
                data: bytes = super()._sock_recv(min(size, _PART))
                outer._read(len(data))
                return data

        self._client = client = Client(paho.CallbackAPIVersion.VERSION2, client_id=node, protocol=paho.MQTTv311)
        client.connect_timeout = ANSWER_S
        client.suppress_exceptions = False
        client.max_inflight_messages_set(2 * MOST_UNDERWAY)
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password())
        if broker.tls:
            _encrypt(client, broker)
        client.on_connect, client.on_message, client.on_publish = self._taken, self._heard, self._confirmed

    def open(self) -> None:
        """Connect, and wait until the broker takes it.

        Raises:
            DeviceError: It does not answer, or refuses.
        """
        try:
            self._client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)
        except Exception as error:
            # Sockets, TLS and names of hosts each raise their own.
            raise DeviceError(f"{self._broker} does not answer ({_said(error)})", _CHECK) from error
        give_up = time.monotonic() + ANSWER_S
        while not self.is_up:
            self.step(0.1)
            if time.monotonic() > give_up:
                raise DeviceError(f"{self._broker} takes the connection and says nothing", _CHECK)

    def step(self, wait_s: float) -> None:
        """Read and write for that long at most, or until something was read.

        Raises:
            DeviceError: The connection is lost.
        """
        try:
            code = self._client.loop(wait_s)
        except Exception as error:
            # What a hostile broker sends may fail anywhere in the reading of it.
            raise DeviceError(f"{self._broker} was given up ({_said(error)})", _CHECK) from error
        if self._refusal:
            raise DeviceError(f"{self._broker} refuses the connection ({self._refusal})", _CHECK)
        if code != self._paho.MQTT_ERR_SUCCESS:
            raise DeviceError(f"the connection to {self._broker} is lost ({self._paho.error_string(code)})", _CHECK)
        since = min((sent for _, sent in self.underway.values()), default=None)
        if since is not None and time.monotonic() - since > ANSWER_S:
            raise DeviceError(f"{self._broker} does not confirm what it is told", _CHECK)

    @property
    def has_room(self) -> bool:
        """Whether a further message may be sent."""
        return self.is_up and len(self.underway) < MOST_UNDERWAY

    def send(self, topic: str, text: str, retain: bool, what: Any) -> None:
        """Send a message, that is confirmed later.

        Args:
            topic: Where.
            text: What.
            retain: Whether whoever comes later is told, too.
            what: Stands in :attr:`underway` until it is confirmed.

        Raises:
            DeviceError: The connection is lost.
        """
        try:
            info = self._client.publish(topic, text, qos=1, retain=retain)
        except Exception as error:
            raise DeviceError(f"{self._broker} was given up ({_said(error)})", _CHECK) from error
        self.underway[info.mid] = what, time.monotonic()
        if info.rc != self._paho.MQTT_ERR_SUCCESS:
            raise DeviceError(f"the connection to {self._broker} is lost ({self._paho.error_string(info.rc)})", _CHECK)

    def close(self) -> None:
        """End the connection; the broker tells the will only where it is lost."""
        with contextlib.suppress(Exception):
            self._client.disconnect()
            self._client.loop(0.0)
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _read(self, size: int) -> None:
        now = time.monotonic()
        self._credit = min(float(MOST_READ), self._credit + (now - self._then) * READ_PER_S) - size
        self._then = now
        if self._credit < 0:
            raise DeviceError(f"{self._broker} sends more than anybody asked for", "look at what publishes there")

    def _taken(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._refusal = printable(str(code))
            return
        self.is_up = True
        client.subscribe(self._birth, qos=0)

    def _heard(self, client: Any, userdata: Any, message: Any) -> None:
        if message.topic == self._birth and message.payload[:_MOST_STATUS] == b"online":
            self.is_born = True
        else:
            self.foreign += 1

    def _confirmed(self, client: Any, userdata: Any, number: int, code: Any, properties: Any) -> None:
        self.underway.pop(number, None)


def probe(broker: Broker) -> None:
    """Connect and go again, without telling anybody anything.

    Raises:
        DeviceError: The broker does not answer, or refuses.
        ConfigurationError: The password or the certificates cannot be read.
        MissingDependencyError: paho-mqtt is not installed.
    """
    connection = Connection(broker, "", None, f"{broker.discovery}/status")
    try:
        connection.open()
    finally:
        connection.close()


_CHECK = "check its address, user and certificates, and that it runs"


def load_paho() -> Any:
    """paho-mqtt's client module.

    Raises:
        MissingDependencyError: It is not installed, or too old.
    """
    try:
        import paho.mqtt.client as client

        # Version 1 has none.
        _ = vars(client)["CallbackAPIVersion"]
    except Exception as error:
        raise MissingDependencyError(
            f"MQTT needs paho-mqtt 2, which is {how_missing(error)}", repair(error, install_extra("mqtt"))
        ) from error
    return client


def _encrypt(client: Any, broker: Broker) -> None:
    try:
        client.tls_set(ca_certs=None if broker.ca_file is None else str(broker.ca_file))
    except (OSError, ValueError) as error:
        shown = printable(str(broker.ca_file))
        raise ConfigurationError(
            f"certificates cannot be read from {shown} ({_said(error)})", "name a PEM file with --mqtt-ca"
        ) from error


def _said(error: Exception) -> str:
    if isinstance(error, DeviceError):
        return error.problem
    return printable(str(error).strip().partition("\n")[0].rstrip(".")) or type(error).__name__
