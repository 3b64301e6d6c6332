"""What every camera has to do, over all adapters; hardware is skipped with the reason where it is absent."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.devices.cameras.camera import Camera, ShotCamera
from multigraft.devices.cameras.fake_camera import FakeCamera
from multigraft.devices.cameras.fake_picamera2 import BUFFERS, FakePicamera2
from multigraft.devices.cameras.image_folder import ImageFolder
from multigraft.devices.cameras.pi_camera import SMALL, PiCamera
from multigraft.devices.cameras.serial_camera import SerialCamera
from multigraft.devices.cameras.sources import open_source
from multigraft.devices.cameras.v4l2_camera import V4l2Camera
from multigraft.devices.cameras.video_file import VideoFile
from multigraft.devices.target.fake_link import FakeFirmware, FakeLink
from multigraft.errors import DeviceError, InputError, MissingDependencyError, MultigraftError, UsageError
from multigraft.tensors.preprocessing import Frame


def frames_of(count: int = 3, shape: tuple[int, ...] = (24, 32, 3), seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_video(path: Path, count: int = 3) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    assert writer.isOpened()
    for level in range(count):
        picture = np.zeros((24, 32, 3), np.uint8)
        picture[..., 0] = 200  # Blue: OpenCV writes BGR.
        picture[..., 1] = 20 * level
        writer.write(picture)
    writer.release()
    return path


def folder(tmp_path: Path) -> ImageFolder:
    target = tmp_path / "frames"
    target.mkdir()
    for number, frame in enumerate(frames_of()):
        Image.fromarray(frame).save(target / f"{number}.png")
    return ImageFolder(target)


def npy(tmp_path: Path) -> ArrayFile:
    np.save(tmp_path / "frames.npy", frames_of())
    return ArrayFile(tmp_path / "frames.npy")


def npz(tmp_path: Path) -> ArrayFile:
    np.savez(tmp_path / "frames.npz", frames=frames_of(), labels=np.arange(3))
    return ArrayFile(tmp_path / "frames.npz")


def grey_npy(tmp_path: Path) -> ArrayFile:
    np.save(tmp_path / "frames.npy", frames_of(shape=(24, 32)))
    return ArrayFile(tmp_path / "frames.npy")


def video(tmp_path: Path) -> VideoFile:
    return VideoFile(write_video(tmp_path / "clip.avi"))


def fake(tmp_path: Path) -> FakeCamera:
    return FakeCamera(24, 32, frames=3)


def endless_fake(tmp_path: Path) -> FakeCamera:
    return FakeCamera(24, 32, color=False)


def fake_board(
    camera: Callable[[], Frame] | None = None, disturb: Callable[[bytes], bytes] = lambda data: data
) -> SerialCamera:
    firmware = FakeFirmware([], [], {}, lambda arrays: [], camera=camera)
    link = FakeLink(firmware, disturb)
    return SerialCamera(link, link.clock)


def serial_fake(tmp_path: Path) -> SerialCamera:
    frames = iter(frames_of(9, (10, 12, 3)))
    return fake_board(lambda: next(frames))


def serial_grey(tmp_path: Path) -> SerialCamera:
    frames = iter(frames_of(9, (30, 11)))
    return fake_board(lambda: next(frames))


def v4l2(tmp_path: Path) -> V4l2Camera:
    device = os.environ.get("MULTIGRAFT_TEST_V4L2", "")
    if not device:
        pytest.skip("hardware: set MULTIGRAFT_TEST_V4L2 to a camera such as /dev/video0")
    return V4l2Camera(device)


def fake_pi(tmp_path: Path) -> PiCamera:
    return PiCamera(24, 30, driver=FakePicamera2)


def pi_camera(tmp_path: Path) -> Camera:
    if not os.environ.get("MULTIGRAFT_TEST_PICAMERA"):
        pytest.skip("hardware: set MULTIGRAFT_TEST_PICAMERA=1 on a Raspberry Pi with a camera")
    return open_source("camera")


Make = Callable[[Path], Camera]
FILES: tuple[Make, ...] = (folder, npy, npz, grey_npy, video, fake)
ALL: tuple[Make, ...] = (*FILES, endless_fake, serial_fake, serial_grey, v4l2, fake_pi, pi_camera)


@pytest.mark.parametrize("make", ALL)
def test_every_camera_yields_frames_that_stay_valid(make: Make, tmp_path: Path) -> None:
    camera = make(tmp_path)
    assert isinstance(camera, Camera)
    assert camera.name
    with camera as entered:
        assert entered is camera
        first, second = itertools.islice(camera, 2)
        kept = first.copy()
        next(iter(camera))
        np.testing.assert_array_equal(first, kept)
    for frame in (first, second):
        assert frame.dtype == np.uint8
        assert frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)
        assert frame.flags.writeable and frame.flags.c_contiguous


@pytest.mark.parametrize("make", FILES)
def test_files_start_again_and_end(make: Make, tmp_path: Path) -> None:
    with make(tmp_path) as camera:
        once, again = list(camera), list(camera)
    assert len(once) == 3
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", (folder, npy, npz))
def test_lossless_files_give_the_pixels_that_were_written(make: Make, tmp_path: Path) -> None:
    with make(tmp_path) as camera:
        np.testing.assert_array_equal(np.stack(list(camera)), frames_of())


def test_video_frames_are_rgb_in_order(tmp_path: Path) -> None:
    with video(tmp_path) as camera:
        means = [frame.reshape(-1, 3).mean(0) for frame in camera]
    assert all(blue > 150 and red < 50 for red, _, blue in means)
    assert means[0][1] < means[1][1] < means[2][1]


def test_images_come_in_the_order_of_their_names_and_keep_their_channels(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 7, np.uint8)).save(tmp_path / "b.png")
    Image.fromarray(np.full((4, 6, 4), 9, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 6), 300 * 200, np.uint16)).save(tmp_path / "c.png")
    (tmp_path / "notes.txt").write_text("not an image")
    camera = ImageFolder(tmp_path)
    assert len(camera) == 3
    shapes = [(f.shape, int(f.flat[0])) for f in camera]
    assert shapes == [((4, 6, 3), 9), ((4, 6), 7), ((4, 6), 60000 >> 8)]


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "p.jpg", exif=exif)
    assert next(iter(ImageFolder(tmp_path))).shape == (6, 4, 3)


def test_a_damaged_image_is_named_when_it_is_reached(tmp_path: Path) -> None:
    Image.fromarray(frames_of(1)[0]).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    reader = iter(ImageFolder(tmp_path))
    next(reader)
    with pytest.raises(InputError, match=r"b\.png"):
        next(reader)


def test_the_fake_camera_moves_and_depends_on_its_seed() -> None:
    one, other = FakeCamera(seed=1), FakeCamera(seed=2)
    np.testing.assert_array_equal(one.frame(5), FakeCamera(seed=1).frame(5))
    assert (one.frame(5) != one.frame(6)).any()
    assert (one.frame(5) != other.frame(5)).any()
    assert np.stack([one.frame(i) for i in range(20)]).std() > 20


def test_open_source_picks_the_adapter(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=frames_of(2), b=frames_of(1, (5, 7)))
    Image.fromarray(frames_of(1)[0]).save(tmp_path / "one.png")
    with open_source(f"{tmp_path}/two.npz:b") as camera:
        assert [f.shape for f in camera] == [(5, 7)]
    with open_source(str(tmp_path / "one.png")) as camera:
        assert [f.shape for f in camera] == [(24, 32, 3)]
    with open_source(str(tmp_path)) as camera:
        assert len(list(camera)) == 1
    with open_source(str(write_video(tmp_path / "clip.avi"))) as camera:
        assert len(list(camera)) == 3
    with open_source("fake:20x10,grey,seed=3,frames=4") as camera:
        assert [f.shape for f in camera] == [(10, 20)] * 4
    assert next(iter(open_source("fake:"))).shape == (96, 96, 3)
    (tmp_path / "source.txt").write_text("\ufeff\n fake:20x10,frames=2 \r\n\n")
    with open_source(f"@{tmp_path}/source.txt") as camera:
        assert [f.shape for f in camera] == [(10, 20, 3)] * 2
    assert isinstance(open_source("/dev/video7"), V4l2Camera)
    assert "camera" in open_source("camera:320x240").name


def _wrong_sources(tmp_path: Path) -> tuple[tuple[str, type[MultigraftError], str], ...]:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.txt").write_text("\n")
    (tmp_path / "two.txt").write_text("rtsp://u:hidden@a\nrtsp://u:hidden@b\n")
    (tmp_path / "again.txt").write_text("@hidden")
    (tmp_path / "bytes.txt").write_bytes(b"hidden\xff")
    (tmp_path / "text.npy").write_text("not numpy")
    (tmp_path / "text.npz").write_text("not numpy")
    (tmp_path / "clip.mp4").write_text("not a video")
    (tmp_path / "model.onnx").write_text("something else")
    np.save(tmp_path / "floats.npy", np.zeros((2, 4, 4)))
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 4), np.uint8))
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "labels.npz", labels=np.arange(4))
    np.savez(tmp_path / "two.npz", a=frames_of(2), b=frames_of(1))
    return (
        (str(tmp_path / "empty"), InputError, "holds no images"),
        (str(tmp_path / "gone.npy"), InputError, "does not exist"),
        (str(tmp_path / "gone.npz:a"), InputError, "does not exist"),
        (str(tmp_path / "model.onnx"), InputError, "no source of frames"),
        (str(tmp_path / "text.npy"), InputError, "not a readable NumPy file"),
        (str(tmp_path / "text.npz"), InputError, "not a readable NumPy file"),
        (str(tmp_path / "object.npy"), InputError, "not a readable NumPy file"),
        (str(tmp_path / "floats.npy"), InputError, "float64"),
        (str(tmp_path / "none.npy"), InputError, "no frames"),
        (str(tmp_path / "labels.npz"), InputError, "no frames"),
        (str(tmp_path / "two.npz"), UsageError, "several"),
        (str(tmp_path / "two.npz") + ":c", UsageError, "a, b"),
        (str(tmp_path / "clip.mp4"), InputError, "not a video"),
        ("/dev/video9876", DeviceError, "/dev/video9876"),
        (f"@{tmp_path}/gone.txt", InputError, "gone.txt"),
        *((f"@{tmp_path}/{name}.txt", InputError, f"{name}.txt holds no source") for name in ("nothing", "two")),
        *((f"@{tmp_path}/{name}.txt", InputError, f"{name}.txt holds no source") for name in ("again", "bytes")),
        ("fake:wide", UsageError, "wide"),
        ("fake:0x4", UsageError, "0 x 4"),
        ("camera:big", UsageError, "camera:big"),
        ("serial:", UsageError, "serial:"),
        ("serial:/dev/ttyACM0@fast", UsageError, "fast"),
        ("serial:/dev/ttyNONE9@921600", DeviceError, "/dev/ttyNONE9"),
    )


def test_a_wrong_source_is_one_sentence_with_a_remedy(tmp_path: Path) -> None:
    for text, kind, says in _wrong_sources(tmp_path):
        with pytest.raises(kind, match=says) as caught, open_source(text) as camera:
            next(iter(camera))
        assert caught.value.remedy and "hidden" not in str(caught.value), text


@pytest.mark.parametrize(
    ("module", "source"), [("PIL", "one.png"), ("cv2", "clip.avi"), ("cv2", "/dev/video0"), ("picamera2", "camera")]
)
def test_a_missing_package_is_named_with_how_to_install_it(
    module: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not source.startswith("/") and "." in source:
        (tmp_path / source).write_bytes(b"anything")
        source = str(tmp_path / source)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match="install") as caught, open_source(source) as camera:
        next(iter(camera))
    assert "pip install" in caught.value.remedy or "apt install" in caught.value.remedy


def test_a_live_camera_outside_its_block_says_so() -> None:
    with pytest.raises(DeviceError, match="not open"):
        next(iter(V4l2Camera("/dev/video0")))
    with pytest.raises(DeviceError, match="not open"):
        next(iter(open_source("camera")))
    with pytest.raises(DeviceError, match="not open"):
        next(iter(open_source("serial:/dev/ttyACM0")))


def test_pictures_come_whole_over_a_bad_cable() -> None:
    random, pictures = np.random.default_rng(3), frames_of(2, (40, 33, 3))
    left = iter(pictures)

    def disturb(data: bytes) -> bytes:
        damaged = bytearray(data)
        if random.random() < 0.05 and damaged:
            damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
        return bytes(damaged)

    camera = fake_board(lambda: next(left), disturb)
    with camera:
        np.testing.assert_array_equal(np.stack(list(itertools.islice(camera, 2))), pictures)


def test_a_board_without_a_camera_and_a_silent_one_say_so() -> None:
    with pytest.raises(DeviceError, match="has no camera") as caught, fake_board() as camera:
        next(iter(camera))
    assert "mg_camera_frame" in caught.value.remedy
    with pytest.raises(DeviceError, match="0 x 4 pixels"), fake_board(lambda: np.empty((0, 4), np.uint8)) as camera:
        next(iter(camera))
    link = FakeLink(None)
    with pytest.raises(DeviceError, match="does not answer"), SerialCamera(link, link.clock):
        pass
    with pytest.raises(DeviceError, match="is not open"):
        link.write(b"")


@pytest.mark.parametrize("make", (fake_pi, pi_camera))
def test_shots_show_a_frame_before_it_is_fetched(make: Make, tmp_path: Path) -> None:
    camera = make(tmp_path)
    assert isinstance(camera, ShotCamera) and not isinstance(FakeCamera(), ShotCamera)
    with camera, contextlib.closing(camera.shots()) as shots:
        first, second = next(shots), next(shots)
        with pytest.raises(DeviceError, match="another picture"):
            first.frame()
        frame = second.frame()
        kept = frame.copy()
        assert second.frame() is frame
        for _ in range(2 * BUFFERS):
            third = next(shots)
        np.testing.assert_array_equal(frame, kept)
    small = third.small
    assert small.dtype == np.uint8 and small.ndim == 2 and small.flags.c_contiguous
    part = min(1.0, SMALL[0] / frame.shape[1], SMALL[1] / frame.shape[0])
    for side, whole in zip(small.shape, frame.shape[:2], strict=True):
        assert side % 2 == 0 and part * whole - 2 < side <= part * whole


def lores_of(camera: FakePicamera2) -> Any:
    assert camera.config is not None
    return camera.config["lores"]


def test_the_low_resolution_stream_is_the_picture_without_its_padding() -> None:
    made: list[FakePicamera2] = []

    def driver(number: int) -> FakePicamera2:
        made.append(FakePicamera2(number))
        return made[-1]

    with PiCamera(480, 640, driver=driver) as camera:
        next(iter(camera))
        assert lores_of(made[0]) is None
        shots = camera.shots()
        shot = next(shots)
        assert shot.small.shape == (240, 320) and lores_of(made[0])["stride"] == 320
        assert made[0].copied == {"main": 1, "lores": 1}
        luma = shot.frame()[::2, ::2] @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(shot.small, luma, atol=0.51)
        assert made[0].copied["main"] == 2 and made[0].held == 0
        next(shots)
        assert made[0].held == 1
        shots.close()
        assert made[0].held == 0
    with PiCamera(90, 100, driver=driver) as camera, contextlib.closing(camera.shots()) as shots:
        shot = next(shots)
        assert lores_of(made[1])["stride"] == 128 and shot.small.shape == (90, 100)
        np.testing.assert_allclose(shot.small, shot.frame() @ np.array([0.299, 0.587, 0.114]), atol=0.51)


def test_a_driver_that_gives_another_size_is_believed() -> None:
    class Odd(FakePicamera2):
        def configure(self, config: dict[str, Any]) -> None:
            if config["lores"]:
                config["lores"]["size"] = (30, 20)
            super().configure(config)

    with PiCamera(48, 64, driver=Odd) as camera, contextlib.closing(camera.shots()) as shots:
        assert next(shots).small.shape == (20, 30)
