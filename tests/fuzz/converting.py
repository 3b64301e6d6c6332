"""Converts many graphs with one start of onnx2tf: a checkpoint store that asks a server."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import onnx

from multigraft.converters.conversion import onnx2tf_launcher
from multigraft.converters.conversion.onnx2tf import _keep, _reason, names_of_other_ranks
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.conversion.onnx2tf_launcher import PLAIN
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.errors import ConversionError

SERVER = Path(__file__).with_name("onnx2tf_server.py").resolve()
LAUNCHER = Path(onnx2tf_launcher.__file__).resolve()


class Served(Checkpoints):
    """Stands where checkpoints do and gives what the server converts; nothing is kept.

    Args:
        environment: onnx2tf's.
        folder: For the files of one graph at a time.
    """

    def __init__(self, environment: Environment, folder: Path) -> None:
        super().__init__(folder)
        self._environment = environment
        self._process = subprocess.Popen(
            [str(environment.python), "-P", str(SERVER), str(LAUNCHER)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1,
            env=environment.variables,
        )  # fmt: skip

    def get(self, name: str, depends_on: Iterable[bytes | str], do: Callable[[], bytes]) -> bytes:
        """As a store that holds nothing; the float model comes from the server."""
        if name != "float":
            return do()
        source, *others = depends_on
        model = onnx.load_model_from_string(source if isinstance(source, bytes) else source.encode())
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            return self._convert(model, Path(place), "plain" if PLAIN in others else "usual")

    def _convert(self, model: onnx.ModelProto, place: Path, way: str) -> bytes:
        onnx.save(model, place / "model.onnx")
        (place / "kept").write_text("\n".join(names_of_other_ranks(model)))
        assert self._process.stdin is not None and self._process.stdout is not None
        print(way, place, file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        result = place / "onnx2tf" / "model_float32.tflite"
        if status or not result.is_file():
            text = (place / "log").read_text(errors="replace")
            ended = f" by signal {status & 0x7F}" if status & 0x7F else ""
            raise ConversionError(
                f"onnx2tf {self._environment.version} failed{ended}{_reason(text, model)}",
                f"replace that operator in the network, or see {_keep(text, place / 'log')}",
            )
        return result.read_bytes()

    @property
    def has_ended(self) -> bool:
        """Whether the server is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
