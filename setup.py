"""The one part that is compiled: the delegate that runs binary networks. All else is in setup.cfg.

The library does not depend on Python, so that one wheel per processor serves every version. Where it can't be compiled
the installation goes on without it.
"""

import os
import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FOLDER = Path("runtime/delegate/c")
IS_LEFT_OUT = os.environ.get("MULTIGRAFT_WITHOUT_DELEGATE") == "1"
"""For packages of another processor than this one."""
PROCESSOR = os.environ.get("MULTIGRAFT_PROCESSOR") or platform.machine()
"""For which the library is compiled; another than this one's where CC compiles for it."""
NEON = "kernels_neon.c"
"""On 32-bit Arm the one file that may use NEON, as not every processor there has it; others choose when they run."""
NEON_FLAGS = os.environ.get("MULTIGRAFT_NEON_FLAGS", "-mfpu=neon").split()
MATHS = ("-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno")
"""Every result is the same on every processor; comparisons of floats are vectorised all the same."""


class BuildDelegate(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split(".")).with_suffix(".so"))

    def build_extension(self, ext: Extension) -> None:
        if PROCESSOR.startswith(("armv7", "armv8l")):
            (source,) = (path for path in ext.sources if Path(path).name == NEON)
            ext.sources = [path for path in ext.sources if path != source]
            flags = [*ext.extra_compile_args, *NEON_FLAGS]
            ext.extra_objects = self.compiler.compile([source], self.build_temp, extra_postargs=flags)
            ext.define_macros = [("MULTIGRAFT_NEON", "1")]
        super().build_extension(ext)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []

    # An editable installation links to all outputs: one that could not be compiled is none.
    def get_outputs(self) -> list[str]:
        return [path for path in super().get_outputs() if Path(path).exists()]

    def get_output_mapping(self) -> dict[str, str]:
        return {built: inplace for built, inplace in super().get_output_mapping().items() if Path(built).exists()}


class DelegateWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        return "py3", "none", platform


DELEGATE = Extension(
    "multigraft.runtime.delegate.libmultigraft_binary",
    sources=sorted(map(str, FOLDER.glob("*.c"))),
    depends=sorted(map(str, FOLDER.glob("*.h"))),
    extra_compile_args=["-std=c11", "-O3", "-g0", *MATHS, "-fvisibility=hidden", "-Wno-unknown-pragmas"],
    extra_link_args=["-lpthread", "-lm", "-Wl,-s", "-Wl,-z,defs", "-Wl,--gc-sections"],
    optional=True,
)

setup(
    ext_modules=[] if IS_LEFT_OUT else [DELEGATE],
    cmdclass={"build_ext": BuildDelegate, "bdist_wheel": DelegateWheel},
)
