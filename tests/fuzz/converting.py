"""Converts many graphs with one start of onnx2tf: a checkpoint store that asks a server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import onnx

from multigraft.converters.conversion import onnx2tf_launcher
from multigraft.converters.conversion.onnx2tf import keep_log, names_kept_channel_first, reason_of
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
        content, text, ended = self._attempt(model, place, way)
        if content is not None:
            return content

        def fails(part: onnx.ModelProto) -> bool:
            return self._attempt(part, place, way)[0] is None

        raise ConversionError(
            f"onnx2tf {self._environment.version} failed{ended}{reason_of(text, model, fails)}",
            f"replace that operator in the network, or see {keep_log(text, place / 'log')}",
        )

    def _attempt(self, model: onnx.ModelProto, place: Path, way: str) -> tuple[bytes | None, str, str]:
        """The .tflite file, None where there is none; what was said; and the signal that ended it."""
        shutil.rmtree(place / "onnx2tf", ignore_errors=True)
        onnx.save(model, place / "model.onnx")
        (place / "kept").write_text("\n".join(names_kept_channel_first(model)))
        assert self._process.stdin is not None and self._process.stdout is not None
        print(way, place, file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        result = place / "onnx2tf" / "model_float32.tflite"
        text = (place / "log").read_text(errors="replace")
        ended = f" by signal {status & 0x7F}" if status & 0x7F else ""
        return (None if status or not result.is_file() else result.read_bytes()), text, ended

    @property
    def has_ended(self) -> bool:
        """Whether the server is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
