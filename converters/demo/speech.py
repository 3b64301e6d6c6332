"""Spoken-like words, made by a synthesiser: what the keyword networks of the demo are trained on and shown with.

A word is a row of sounds; each has three resonances (formants), a buzz and a breath. The resonances and loudnesses
glide from sound to sound, and a filter of second order a resonance shapes the source, as in Klatt, "Software for a
cascade/parallel formant synthesizer" (Journal of the Acoustical Society of America 67, 1980), much simplified. Vowels
have the formants that Peterson and Barney measured ("Control methods used in a study of the vowels", 1952). Every clip
has a voice of its own: pitch, its fall, length of the throat, speed, place in the clip, loudness, noise around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal

RATE_HZ = 16_000
CLIP_SAMPLES = 15_840
"""What 49 rows of the ``keyword`` front end are made of: 0.99 s."""
_PIECE = 80
"""Samples for which resonances hold: 5 ms."""
BANDWIDTHS_HZ = (70.0, 110.0, 170.0)

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Phone:
    """One sound of a word: formants, loudness of buzz and breath (0 to 1), where the breath is, length."""

    formants_hz: tuple[float, float, float]
    buzz: float
    breath: float = 0.0
    breath_hz: float = 3000.0
    length_s: float = 0.1


def _vowel(first: float, second: float, third: float, length_s: float = 0.13) -> Phone:
    return Phone((first, second, third), 1.0, 0.02, 2500.0, length_s)


PHONES = {
    "iy": _vowel(270, 2290, 3010, 0.16),
    "ih": _vowel(390, 1990, 2550, 0.09),
    "eh": _vowel(530, 1840, 2480, 0.14),
    "ah": _vowel(640, 1190, 2390, 0.13),
    "aa": _vowel(730, 1090, 2440, 0.15),
    "ao": _vowel(570, 840, 2410, 0.15),
    "uh": _vowel(440, 1020, 2240, 0.08),
    "uw": _vowel(300, 870, 2240, 0.15),
    "w": Phone((290, 610, 2150), 0.6, 0.0, 2500.0, 0.07),
    "y": Phone((260, 2200, 3000), 0.6, 0.0, 2500.0, 0.07),
    "l": Phone((360, 1250, 2700), 0.6, 0.0, 2500.0, 0.07),
    "r": Phone((330, 1060, 1400), 0.6, 0.0, 2500.0, 0.08),
    "n": Phone((250, 1500, 2400), 0.4, 0.0, 2500.0, 0.1),
    "s": Phone((320, 1600, 2600), 0.0, 0.5, 3600.0, 0.13),
    "f": Phone((320, 1000, 2200), 0.0, 0.15, 2000.0, 0.11),
    "th": Phone((320, 1400, 2500), 0.0, 0.12, 2800.0, 0.1),
    "v": Phone((280, 1000, 2200), 0.35, 0.1, 2000.0, 0.08),
    "-": Phone((400, 1400, 2500), 0.0, 0.0, 2500.0, 0.06),
    "t": Phone((400, 1700, 2600), 0.0, 0.6, 3500.0, 0.035),
    "p": Phone((400, 900, 2200), 0.0, 0.4, 900.0, 0.03),
    "d": Phone((300, 1600, 2600), 0.25, 0.4, 3000.0, 0.03),
    "g": Phone((300, 1900, 2200), 0.25, 0.4, 1900.0, 0.04),
}
"""``-`` is the closure before a plosive."""

COMMANDS = {
    "yes": "y eh s",
    "no": "n ao uw",
    "up": "ah - p",
    "down": "- d aa uh n",
    "left": "l eh f - t",
    "right": "r aa ih - t",
    "stop": "s - t aa - p",
    "go": "- g ao uw",
}
NUMBERS = {"one": "w ah n", "two": "- t uw", "three": "th r iy", "four": "f ao r", "five": "f aa ih v"}
WORDS = {**COMMANDS, **NUMBERS}
NOTHING = "nothing"
"""Noise, silence, a hum; and for a network every word that it was not asked about."""


def spoken(word: str, random: np.random.Generator) -> npt.NDArray[np.int16]:
    """One clip of a word of :data:`WORDS`, or of :data:`NOTHING`: int16, :data:`CLIP_SAMPLES` at :data:`RATE_HZ`."""
    noise = random.normal(0, 1, CLIP_SAMPLES)
    if random.random() < 0.5:
        noise = signal.lfilter([0.3], [1, -0.7], noise)
    clip = noise * 10 ** random.uniform(-4.5, -2.0)
    if word == NOTHING:
        if random.random() < 0.4:
            hum = np.sin(2 * np.pi * random.uniform(80, 900) / RATE_HZ * np.arange(CLIP_SAMPLES))
            clip += hum * 10 ** random.uniform(-3, -0.7)
    else:
        voice = _voice(WORDS[word].split(), random)[:CLIP_SAMPLES]
        room = CLIP_SAMPLES - len(voice)
        at = round(room * random.uniform(0.1, 0.9))
        clip[at : at + len(voice)] += voice * 10 ** random.uniform(-1.3, -0.1) / np.abs(voice).max()
    samples: npt.NDArray[np.int16] = np.rint(np.clip(clip, -1, 1) * 32767).astype(np.int16)
    return samples


def _voice(phones: Sequence[str], random: np.random.Generator) -> Reals:
    """The word alone, at no particular loudness."""
    throat, speed = random.uniform(0.85, 1.25), random.uniform(0.8, 1.3)
    pitch_hz = 95 * 2 ** random.uniform(0, 1.4)
    tracks = _tracks([PHONES[name] for name in phones], speed, random)
    pieces = len(tracks)
    fall = np.linspace(1 + random.uniform(0, 0.25), 1 - random.uniform(0, 0.25), pieces * _PIECE)
    phase = np.cumsum(pitch_hz * fall * (1 + 0.01 * random.normal(0, 1, pieces * _PIECE))) / RATE_HZ
    # A pulse a turn, softened: what vocal folds give falls by 12 dB an octave, and lips take 6 back.
    buzz = signal.lfilter([1.0], [1, -0.9], np.diff(np.floor(phase), prepend=0.0))
    breath = random.normal(0, 1, pieces * _PIECE)
    out = np.zeros(pieces * _PIECE)
    state = [np.zeros(2) for _ in range(4)]
    for k, track in enumerate(tracks):
        here = slice(k * _PIECE, (k + 1) * _PIECE)
        voiced = track[3] * buzz[here] + 0.05 * track[4] * breath[here]
        for f, bandwidth_hz in enumerate(BANDWIDTHS_HZ):
            voiced, state[f] = _resonate(voiced, track[f] * throat, bandwidth_hz, state[f])
        hiss, state[3] = _resonate(track[4] * breath[here], track[5] * min(throat, 1.1), 900.0, state[3])
        out[here] = voiced + 0.4 * hiss
    return out


def _tracks(phones: Sequence[Phone], speed: float, random: np.random.Generator) -> Reals:
    """Formants, buzz, breath and its place, a row each 5 ms; they glide over 30 ms."""
    rows = []
    for phone in phones:
        count = max(2, round(phone.length_s * speed * random.uniform(0.85, 1.15) * RATE_HZ / _PIECE))
        row = (*(f * random.uniform(0.95, 1.05) for f in phone.formants_hz), phone.buzz, phone.breath, phone.breath_hz)
        rows += [row] * count
    silent = [*rows[-1][:3], 0.0, 0.0, rows[-1][5]]
    padded = np.array([*rows, *[silent] * 6], np.float64)
    smooth = np.ones(6) / 6
    return np.stack([np.convolve(column, smooth)[: len(padded)] for column in padded.T], axis=1)


def _resonate(source: Reals, frequency_hz: float, bandwidth_hz: float, state: Reals) -> tuple[Reals, Reals]:
    """A filter of second order with gain 1 at 0 Hz, as Klatt's resonators have."""
    radius = np.exp(-np.pi * bandwidth_hz / RATE_HZ)
    b = 2 * radius * np.cos(2 * np.pi * min(frequency_hz, 0.45 * RATE_HZ) / RATE_HZ)
    filtered, state = signal.lfilter([1 - b + radius**2], [1, -b, radius**2], source, zi=state)
    return filtered, state
