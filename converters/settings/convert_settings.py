"""How the grafted model becomes TFLite: the table ``[convert]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from multigraft.converters.settings.toml_reader import Place, choice, flag, key, number, several, text

Precision = Literal["int8", "float32", "dynamic", "int4", "binary", "binary-int8"]
Weights = Literal["8bit", "4bit", "2bit", "auto", "1bit", "auto-1bit"]
Rescue = Literal["float", "none"]


@dataclass(frozen=True)
class ConvertSettings:
    """How the grafted model becomes TFLite."""

    precision: Precision = key(
        "int8: weights and activations; int4: the same, 4-bit weights; dynamic: 8-bit weights, float32 in and out; "
        "binary: layers trained with weights and activations of -s and s as bits, all others float32; binary-int8: "
        "all others int8.",
        choice(*get_args(Precision)),
        default="int8",
    )
    weights: Weights = key(
        "Bits of the weights of layers that a stock interpreter takes with 4 or 2; auto: where that saves most "
        "memory and keeps min_agreement; 1bit: weights and values of convolutions between the first and last, which "
        "need the delegate for binary operators; auto-1bit: where that gains and keeps min_agreement. Needs precision "
        "int8; an int8 model comes along for other interpreters.",
        choice(*get_args(Weights)),
        default="8bit",
    )
    keep_float: tuple[str, ...] = key(
        "Layers that stay float32: regular expressions on ONNX node and tensor names, or operator kinds.",
        several(text(), "a list of texts"),
        default=(),
    )
    min_layer_sqnr_db: float = key(
        "Least signal over quantisation noise of a layer on its own, dB; layers below are named.",
        number(lambda v: v >= 0, "a number of at least 0"),
        default=15.0,
    )
    rescue: Rescue = key(
        "float: where min_agreement is missed, layers get 8-bit weights, float values, or stay float32; none: never.",
        choice(*get_args(Rescue)),
        default="float",
    )

    fallback: bool = key(
        "Whether a bundle whose model not every interpreter runs (bits, weights of few bits) also holds one that does.",
        flag(),
        default=True,
    )

    def check(self, has_frames: bool, place: Place) -> None:
        """Refuse what contradicts itself across keys.

        Raises:
            ConfigurationError: The message names the key.
        """
        if self.weights != "8bit" and self.precision != "int8":
            place.at("weights").fail(
                f"is {self.weights!r}, which contradicts precision = {self.precision!r}",
                'ask for precision = "int8" or weights = "8bit"',
            )
        if self.weights != "8bit" and not has_frames:
            place.at("weights").fail("needs frames", 'name unlabeled frames, or write weights = "8bit"')
        if self.keep_float and self.precision == "float32":
            place.at("keep_float").fail('contradicts precision = "float32"', "remove it, every layer stays float32")
