"""What a network that hears takes at once: rows of features, of samples that begin anew every so often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.errors import ConfigurationError, InputError
from multigraft.sounds.front_end import UNITS_PER_NAT, FrontEnd
from multigraft.sounds.listening import Listening
from multigraft.sounds.log_mel import Samples, check_samples, log_mel


@dataclass(frozen=True)
class SoundWindow:
    """How sound becomes a network's input.

    Attributes:
        front_end: How samples become rows.
        rows: Rows of an input.
        hop: Samples from one input to the next.

    Raises:
        ConfigurationError: A number is not positive.
    """

    front_end: FrontEnd
    rows: int
    hop: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.hop < 1:
            raise ConfigurationError(
                f"sound: inputs of {self.rows} rows every {self.hop} samples", "give positive numbers"
            )

    @property
    def listening(self) -> Listening:
        """The windows of samples that give one input each."""
        return Listening(self.front_end.rate_hz, self.front_end.samples(self.rows), self.hop)

    def features(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Features in nats, rows x bands.

        Args:
            samples: int16; as many as :attr:`listening` has, axes of length 1 aside.

        Raises:
            InputError: They are of another type or number.
        """
        sound = samples
        if isinstance(samples, np.ndarray) and max(samples.shape, default=0) == samples.size:
            sound = samples.reshape(-1)
        check_samples(sound)
        if len(sound) != self.listening.samples:
            raise InputError(
                f"a sound has {len(sound)} samples and its task takes {self.listening.samples}",
                "give windows of that many",
            )
        features: npt.NDArray[np.float32] = log_mel(sound, self.front_end).astype(np.float32)
        features /= np.float32(UNITS_PER_NAT)
        return features
