"""Log-mel features in whole numbers against scipy's transform in double precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from multigraft.devices.sounds.fake_microphone import FakeMicrophone
from multigraft.errors import ConfigurationError, InputError
from multigraft.sounds.front_end import NAMED, UNITS_PER_NAT, FrontEnd
from multigraft.sounds.log_mel import LogMelStream, log_mel

KEYWORD = NAMED["keyword"]
HALF_UNIT = 0.5 / UNITS_PER_NAT

Reals = npt.NDArray[np.float64]


def triangles(front_end: FrontEnd) -> Reals:
    """Bins x bands: triangles that are straight in hertz, their corners even on HTK's mel scale."""
    low, high = 2595 * np.log10(1 + np.array([front_end.low_hz, front_end.high_hz]) / 700)
    corners = 700 * (10 ** (np.linspace(low, high, front_end.bands + 2) / 2595) - 1)
    bins = np.arange(front_end.fft // 2 + 1) * front_end.rate_hz / front_end.fft
    return np.stack([np.interp(bins, corners[b : b + 3], [0, 1, 0]) for b in range(front_end.bands)], axis=1)


def by_scipy(sound: npt.NDArray[np.int16], front_end: FrontEnd) -> Reals:
    """What a float front end gives: scipy's spectrogram under the triangles, in nats."""
    rows = front_end.rows(len(sound))
    whole = sound[: front_end.samples(rows)] / 32768
    window = scipy.signal.get_window("hann", front_end.window)
    transform = scipy.signal.ShortTimeFFT(
        window, front_end.step, front_end.rate_hz, mfft=front_end.fft, phase_shift=None
    )
    middle = transform.m_num_mid
    first = np.arange(rows) * front_end.step
    power = np.stack(
        [np.abs(transform.stft(whole[at : at + front_end.window], 0, 1, k_offset=middle)[:, 0]) ** 2 for at in first]
    )
    return np.asarray(np.log(power @ triangles(front_end) + front_end.floor))


def spoken(level: float, seconds: float = 1.0, rate_hz: int = 16_000) -> npt.NDArray[np.int16]:
    """Speech-like: a buzz whose pitch glides, through three resonances that move, and breath; ``level`` in 0..32767."""
    random = np.random.default_rng(11)
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    buzz = scipy.signal.sawtooth(2 * np.pi * np.cumsum(110 + 40 * np.sin(2 * np.pi * 1.5 * time)) / rate_hz)
    sound = np.zeros_like(time)
    for low, high, width in ((300, 700, 60), (900, 2100, 90), (2300, 2900, 150)):
        for part in range(4):
            middle = low + (high - low) * part / 3
            radius = np.exp(-np.pi * width / rate_hz)
            poles = [1, -2 * radius * np.cos(2 * np.pi * middle / rate_hz), radius**2]
            gate = np.clip(1 - np.abs(time / seconds * 4 - part - 0.5), 0, 1)
            sound += scipy.signal.lfilter([1 - radius], poles, (buzz + random.normal(0, 0.2, len(time))) * gate)
    spoken: npt.NDArray[np.int16] = np.rint(sound * (level / np.abs(sound).max())).astype(np.int16)
    return spoken


@pytest.mark.parametrize(
    ("level", "worst", "usual"),
    [(32767, 1e-3, 3e-4), (2000, 3e-3, 4e-4), (60, 6e-3, 1e-3), (2, 6e-3, 1e-3)],
    ids=["loud", "soft", "quiet", "almost silent"],
)
def test_speech_equals_scipy_within_a_few_thousandths_of_a_nat(level: float, worst: float, usual: float) -> None:
    sound = spoken(level)
    error = np.abs(log_mel(sound, KEYWORD) / UNITS_PER_NAT - by_scipy(sound, KEYWORD))
    assert error.max() <= HALF_UNIT + worst
    assert error.mean() <= usual


@pytest.mark.parametrize(
    "front_end",
    [
        FrontEnd(8_000, 200, 80, 256, 20, 0.0, 4000.0),
        FrontEnd(44_100, 2048, 512, 2048, 64, 40.0, 22_050.0),
        FrontEnd(16_000, 400, 160, 512, 23, 60.0, 7600.0, 1e-9),
        FrontEnd(48_000, 4096, 4096, 4096, 80, 20.0, 20_000.0),
    ],
    ids=lambda f: f"{f.rate_hz}-{f.window}-{f.bands}",
)
def test_other_parameters_and_extreme_sounds(front_end: FrontEnd) -> None:
    random = np.random.default_rng(2)
    count = max(8000, 3 * front_end.window)
    time = np.arange(count) / front_end.rate_hz
    loudest = np.where(random.random(count) < 0.5, -32768, 32767).astype(np.int16)
    square = (32767 * np.sign(np.sin(2 * np.pi * 200 * time))).astype(np.int16)
    for sound in (loudest, square, spoken(30000, count / front_end.rate_hz, front_end.rate_hz)):
        error = np.abs(log_mel(sound, front_end) / UNITS_PER_NAT - by_scipy(sound, front_end))
        assert np.percentile(error, 99) <= 0.006
        # Bands that are 80 dB below the loudest one, where 16 bits of a sample say little themselves.
        assert error.max() <= 0.05


def test_librosa_gives_the_same_features() -> None:
    """librosa 0.11.0: melspectrogram(y, sr=16000, n_fft=512, win_length=480, hop_length=320, center=False, n_mels=40,
    fmin=20, fmax=4000, htk=True, norm=None), y with 16 zeros before and behind it, as librosa centres the window."""
    sound = np.concatenate(list(FakeMicrophone(seed=9, seconds=0.8)))
    sound[6000:9000] //= 64
    with np.load(Path(__file__).with_name("librosa_log_mel.npz")) as file:
        wanted = file["features"]
    error = np.abs(log_mel(sound, KEYWORD) / UNITS_PER_NAT - wanted)
    assert error.max() <= 0.006
    assert error.mean() <= 5e-4


def test_silence_is_the_logarithm_of_the_floor() -> None:
    rows = log_mel(np.zeros(16_000, np.int16), KEYWORD)
    assert rows.shape == (49, 40)
    assert (rows == round(np.log(1e-6) * UNITS_PER_NAT)).all()


def test_a_stream_gives_the_same_rows_in_whatever_pieces() -> None:
    sound = spoken(9000)
    random = np.random.default_rng(0)
    for front_end in (KEYWORD, FrontEnd(16_000, 100, 350, 128, 8, 100.0, 8000.0)):
        stream = LogMelStream(front_end)
        pieces = np.split(sound, np.sort(random.integers(0, len(sound), 60)))
        heard = [stream.hear(piece) for piece in pieces]
        np.testing.assert_array_equal(np.concatenate(heard), log_mel(sound, front_end))
        assert max(map(len, heard)) < 10


def test_samples_of_another_kind_are_refused() -> None:
    for samples in (np.zeros(800), np.zeros((800, 2), np.int16), [0] * 800):
        with pytest.raises(InputError, match="give int16 samples of one channel"):
            log_mel(samples, KEYWORD)  # type: ignore[arg-type]
    assert log_mel(np.zeros(479, np.int16), KEYWORD).shape == (0, 40)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"fft": 500}, "power of two"),
        ({"fft": 256}, "power of two"),
        ({"window": 5000, "fft": 8192}, "window is 5000"),
        ({"high_hz": 9000.0}, "half of the sample rate"),
        ({"low_hz": 4000.0}, "bands reach from 4000 to 4000 Hz"),
        ({"bands": 180}, "no frequency of the transform"),
        ({"floor": 0.0}, "floor is 0"),
        ({"step": 0}, "step is 0"),
        ({"rate_hz": 0}, "rate_hz is 0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(changed: dict[str, float], says: str) -> None:
    values = {**KEYWORD.__dict__, **changed}
    with pytest.raises(ConfigurationError, match=says):
        FrontEnd(**values)
