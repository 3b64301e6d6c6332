"""From what a user types after ``--source`` to a camera."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from multigraft.devices.cameras.addresses import shown_address, source_of
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.devices.cameras.array_rows import ArrayRows, FakeRows
from multigraft.devices.cameras.as_they_come import AsTheyCome
from multigraft.devices.cameras.camera import Camera
from multigraft.devices.cameras.fake_camera import FakeCamera
from multigraft.devices.cameras.image_folder import SUFFIXES, ImageFolder
from multigraft.devices.cameras.newest import NewestFrame
from multigraft.devices.cameras.pi_camera import PiCamera
from multigraft.devices.cameras.returning import Outage, ReturningCamera
from multigraft.devices.cameras.serial_camera import SerialCamera
from multigraft.devices.cameras.source_help import HELP, ROWS_HELP, SOUND_HELP
from multigraft.devices.cameras.stream_camera import SCHEMES, StreamCamera
from multigraft.devices.cameras.v4l2_camera import V4l2Camera
from multigraft.devices.cameras.video_file import VideoFile
from multigraft.devices.sounds.arecord import ArecordMicrophone
from multigraft.devices.sounds.fake_microphone import FakeMicrophone
from multigraft.devices.sounds.wav_file import WAV_SUFFIXES
from multigraft.devices.sounds.windows import Listener, SoundFiles
from multigraft.devices.target.serial_link import BAUD, SerialLink
from multigraft.errors import InputError, UsageError
from multigraft.reading import unreadable
from multigraft.sounds.listening import Listening
from multigraft.tensors.preparation import Rows

V4L2 = r"/dev/(video\d+|v4l/by-(id|path)/.+)"
"""Names of Video4Linux devices; those below by-id stay the same when a camera comes back."""

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mjpeg", ".mpg")
ARRAY_SUFFIXES = (".npy", ".npz")

FREE_RUNNING = (PiCamera, V4l2Camera, StreamCamera)
"""Cameras whose frames come whether they are read or not."""

LIVE_CAMERAS = (*FREE_RUNNING, SerialCamera, Listener, NewestFrame, ReturningCamera, AsTheyCome)
"""Cameras whose frames do not come again."""


def newest_only(camera: Camera) -> Camera:
    """The camera itself, or :class:`~multigraft.devices.cameras.newest.NewestFrame` of one that runs by itself."""
    return NewestFrame(camera) if isinstance(camera, FREE_RUNNING) else camera


def resilient(
    camera: Camera,
    is_patient: bool = False,
    wait: Callable[[float], None] = time.sleep,
    report: Callable[[Outage], None] | None = None,
    returned: Callable[[], None] = lambda: None,
) -> Camera:
    """A camera whose frames are never queued, and that is looked for again when it vanishes; files and boards
    are left as they are.

    Args:
        camera: As :func:`open_source` gives it.
        is_patient: See :class:`~multigraft.devices.cameras.returning.ReturningCamera`.
        wait: In the same way.
        report: In the same way.
        returned: In the same way.
    """
    # A board that answers wrongly is not one that vanished: who asks it for frames is told, and ends.
    if not isinstance(camera, FREE_RUNNING):
        return camera
    return ReturningCamera(newest_only(camera), is_patient, wait, report, returned)


def is_up(camera: Camera) -> bool:
    """Whether none of what :func:`resilient` guards is away."""
    if isinstance(camera, AsTheyCome):
        return all(map(is_up, camera.cameras.values()))
    return not isinstance(camera, ReturningCamera) or camera.outage is None


def dropped_frames(camera: Camera) -> int | None:
    """Frames that a camera took and nobody had time for; None of a source that has all of them read."""
    if isinstance(camera, AsTheyCome):
        return camera.dropped + sum(dropped_frames(one) or 0 for one in camera.cameras.values())
    while isinstance(camera, ReturningCamera):
        camera = camera.camera
    return camera.dropped if isinstance(camera, NewestFrame) else None


def open_source(text: str, rows: Rows | None = None, pixels: tuple[int, int] | None = None) -> Camera:
    """The camera that ``text`` names; enter it with ``with`` before reading.

    Args:
        text: What :data:`HELP` lists. ``camera`` may be followed by ``:WIDTHxHEIGHT``.
        rows: The shape of a row where the frames are rows of numbers, or the windows of sound; None for pictures.
        pixels: Height and width that pictures need not exceed: a camera with a scaler of its own then gives no more
            than it takes, of the same field of view.

    Raises:
        InputError: The path does not exist, is an empty folder, or is no known type of file.
        UsageError: The options after ``fake:``, ``camera:`` or ``serial:`` are wrong.
    """
    text = source_of(text)
    kind, _, options = text.partition(":")
    if isinstance(rows, Listening):
        return _sound(text, rows)
    if rows is not None:
        return _rows(text, rows)
    if kind == "fake":
        return _fake(options)
    if kind == "camera":
        if not options:
            return PiCamera() if pixels is None else PiCamera.no_larger_than_needed(*pixels)
        size = re.fullmatch(r"(\d+)x(\d+)", options)
        if not size:
            raise UsageError(f"source {text!r} is not understood", "write camera or camera:640x480")
        return PiCamera(int(size[2]), int(size[1]))
    if kind == "serial":
        port = re.fullmatch(r"(.+?)(?:@([1-9]\d{2,7}))?", options)
        if not port or "@" in port[1]:
            raise UsageError(f"source {text!r} is not understood", "write serial:/dev/ttyACM0 or serial:COM3@921600")
        return SerialCamera(SerialLink(port[1], int(port[2] or BAUD)))
    if re.fullmatch(V4L2, text):
        return V4l2Camera(text)
    if kind.lower() in SCHEMES and options.startswith("//"):
        return StreamCamera(text)
    return _path(text)


def _rows(text: str, shape: tuple[int, ...]) -> Camera:
    kind, _, options = text.partition(":")
    if kind == "fake":
        numbers = dict(re.findall(r"(seed|frames)=(\d+)", options))
        return FakeRows(shape, int(numbers.get("seed", 0)), int(numbers["frames"]) if "frames" in numbers else None)
    if _is_camera(text):
        raise UsageError(
            f"{shown_address(text)} gives pictures, and its tasks take rows of numbers", f"give {ROWS_HELP}"
        )
    path, array = _existing(text)
    if path.is_dir() or path.suffix.lower() in ARRAY_SUFFIXES:
        return ArrayRows(path, shape, array)
    raise InputError(f"{path} holds no rows of numbers, which its tasks take", f"give {ROWS_HELP}")


def _sound(text: str, listening: Listening) -> Camera:
    kind, _, options = text.partition(":")
    if kind == "fake":
        numbers = dict(re.findall(r"(seed|frames)=(\d+)", options))
        count = int(numbers["frames"]) if "frames" in numbers else None
        samples = None if count is None else listening.samples + (count - 1) * listening.hop
        seconds = None if samples is None else samples / listening.rate_hz
        return Listener(FakeMicrophone(listening.rate_hz, int(numbers.get("seed", 0)), seconds), listening)
    if kind == "microphone":
        return Listener(ArecordMicrophone(listening.rate_hz, options or "default"), listening)
    if _is_camera(text):
        raise UsageError(f"{shown_address(text)} gives pictures, and its tasks take sound", f"give {SOUND_HELP}")
    path, array = _existing(text)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return ArrayRows(path, (listening.samples,), array)
    if path.is_dir() or path.suffix.lower() in WAV_SUFFIXES:
        return SoundFiles(path, listening)
    raise InputError(f"{path} holds no sound that multigraft reads", f"give {SOUND_HELP}")


def _is_camera(text: str) -> bool:
    kind, _, options = text.partition(":")
    return kind in ("camera", "serial") or bool(re.fullmatch(V4L2, text)) or options.startswith("//")


def _existing(text: str) -> tuple[Path, str | None]:
    """The path, and the array of a .npz file that is named behind it."""
    path, array = Path(text), None
    try:
        if not path.exists() and ".npz:" in text:
            name, _, array = text.rpartition(":")
            path = Path(name)
        is_there = path.exists()
    except PermissionError as error:
        raise unreadable(path, error) from error
    if not is_there:
        raise InputError(f"{shown_address(text)} does not exist", f"give {HELP}")
    return path, array


def _path(text: str) -> Camera:
    path, array = _existing(text)
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in SUFFIXES:
        return ImageFolder(path)
    if suffix in ARRAY_SUFFIXES:
        return ArrayFile(path, array)
    if suffix in VIDEO_SUFFIXES:
        return VideoFile(path)
    raise InputError(f"{path} is no source of frames that multigraft knows", f"give {HELP}")


def _fake(options: str) -> FakeCamera:
    height, width, color = 96, 96, True
    seed, frames = 0, None
    for option in filter(None, options.split(",")):
        if size := re.fullmatch(r"(\d+)x(\d+)", option):
            width, height = int(size[1]), int(size[2])
        elif option == "grey":
            color = False
        elif match := re.fullmatch(r"seed=(\d+)", option):
            seed = int(match[1])
        elif match := re.fullmatch(r"frames=(\d+)", option):
            frames = int(match[1])
        else:
            raise UsageError(
                f"fake camera: option {option!r} is not understood",
                "write for example fake:96x96,grey,seed=1,frames=50",
            )
    return FakeCamera(height, width, color, seed, frames)
