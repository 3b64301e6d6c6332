"""A link between this machine and a network namespace whose rate, delay and loss may change while it runs.

Kernels without ``netem`` are common; two TUN devices and a process between them do the same to real TCP.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

NAMESPACE, HERE, THERE = "mgoffload", "10.201.16.1", "10.201.16.2"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_LARGEST_PACKET = 1 << 16
_LONGEST_QUEUE_S = 0.5


@dataclass
class TunLink:
    """Both ways alike.

    Attributes:
        bits_per_s: Rate; 0 for any.
        delay_s: One way, seconds.
        loss: Share of packets.
    """

    bits_per_s: float = 0.0
    delay_s: float = 0.0
    loss: float = 0.0


@contextlib.contextmanager
def tun_link() -> Iterator[TunLink]:
    """A namespace at the other end of a link, for as long as the block runs; needs root."""
    _ip(f"netns del {NAMESPACE}", is_checked=False)
    _ip(f"netns add {NAMESPACE}")
    near, far = _device("mghere"), _device("mgthere")
    stopped = threading.Event()
    link = TunLink()
    thread = threading.Thread(target=_forward, args=(link, near, far, stopped), daemon=True)
    try:
        _ip(f"addr add {HERE}/30 dev mghere")
        _ip("link set mghere up")
        _ip(f"link set mgthere netns {NAMESPACE}")
        _ip(f"-n {NAMESPACE} addr add {THERE}/30 dev mgthere")
        _ip(f"-n {NAMESPACE} link set mgthere up")
        _ip(f"-n {NAMESPACE} link set lo up")
        thread.start()
        yield link
    finally:
        stopped.set()
        if thread.is_alive():
            thread.join()
        os.close(near)
        os.close(far)
        _ip(f"netns del {NAMESPACE}", is_checked=False)


def _ip(words: str, is_checked: bool = True) -> None:
    subprocess.run(["ip", *words.split()], check=is_checked, capture_output=not is_checked)


def _device(name: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return handle


def _forward(link: TunLink, near: int, far: int, stopped: threading.Event) -> None:
    chance, order = random.Random(0), itertools.count()
    waiting: list[tuple[float, int, int, bytes]] = []
    free = {near: 0.0, far: 0.0}
    while not stopped.is_set():
        pause = 0.05 if not waiting else min(0.05, max(0.0, waiting[0][0] - time.monotonic()))
        for handle in select.select((near, far), (), (), pause)[0]:
            other = far if handle == near else near
            packet, now = os.read(handle, _LARGEST_PACKET), time.monotonic()
            begins = max(now, free[other])
            if chance.random() < link.loss or begins - now > _LONGEST_QUEUE_S:
                continue
            free[other] = begins + (8 * len(packet) / link.bits_per_s if link.bits_per_s else 0.0)
            heapq.heappush(waiting, (free[other] + link.delay_s, next(order), other, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            *_, handle, packet = heapq.heappop(waiting)
            with contextlib.suppress(OSError):
                os.write(handle, packet)
