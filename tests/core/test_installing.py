"""A remedy is a command that works where the user stands."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from multigraft import installing

ROOT = Path(__file__).parents[2]


class Installed:
    """The part of a distribution that is asked, with an origin of one's own (PEP 610)."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self._origin is None else json.dumps(self._origin)


def stand(monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any] | None, prefix: str = "/srv/environment") -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed(origin))
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(sys, "executable", f"{prefix}/bin/python")


def folder(path: Path, editable: bool = False) -> dict[str, Any]:
    return {"url": path.as_uri(), "dir_info": {"editable": True} if editable else {}}


def test_from_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    stand(monkeypatch, None)
    assert installing.install_extra("flash") == "run: /srv/environment/bin/python -m pip install 'multigraft[flash]'"
    assert installing.install_package("numpy<2") == "run: /srv/environment/bin/python -m pip install 'numpy<2'"


def test_in_a_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stand(monkeypatch, folder(ROOT, editable=True), str(ROOT / ".venv"))
    assert installing.install_extra("torch") == (
        "run: .venv/bin/python -m pip install --config-settings editable_mode=strict -e '.[torch]'"
    )
    assert installing.install_demo() == "run: .venv/bin/python -m pip install packaging/demo"
    assert (ROOT / "packaging" / "demo" / "setup.cfg").is_file()


def test_installed_from_a_clone_that_lies_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    (clone / "setup.cfg").touch()
    stand(monkeypatch, folder(clone))
    command = installing.install_extra("serial").removeprefix("run: ")
    assert shlex.split(command)[-2:] == ["install", f"{clone}[serial]"]


def test_a_clone_that_is_gone_is_not_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand(monkeypatch, folder(tmp_path / "gone"))
    assert installing.install_extra("serial").endswith("pip install 'multigraft[serial]'")
    assert installing.install_demo().endswith("pip install 'multigraft[demo]'")


RECEIPT = """
[tool]
requirements = [
    { name = "multigraft", extras = ["serve", "images"], directory = "/srv/clone" },
    { name = "numpy", specifier = "<2" },
]
python = "/usr/bin/python3"
"""


def test_an_environment_of_uv_tool_keeps_what_it_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand(monkeypatch, None, str(tmp_path))
    receipt = tmp_path / "uv-receipt.toml"
    for text in ("[tool]\n", "damaged", "tool = 3\n", "[tool]\nrequirements = [3]\n"):
        receipt.write_text(text)
        assert installing.install_extra("video") == "run: uv tool install --force 'multigraft[video]'"
    receipt.write_text(RECEIPT)
    assert installing.install_extra("video") == (
        "run: uv tool install --force --python /usr/bin/python3 --with 'numpy<2' 'multigraft[images,serve,video]'"
    )
    assert installing.install_package("x", anew=True) == (
        f"run: uv pip install --python {tmp_path} --force-reinstall --no-cache-dir x"
    )


def test_an_environment_of_pipx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand(monkeypatch, None, str(tmp_path))
    (tmp_path / "pipx_metadata.json").touch()
    assert installing.install_extra("video") == "run: pipx install --force 'multigraft[video]'"
    assert installing.install_package("x") == "run: pipx inject multigraft x"


def test_an_environment_of_uv_venv_has_no_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand(monkeypatch, None, str(tmp_path))
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.13.9\n")
    assert installing.install_extra("video") == f"run: uv pip install --python {tmp_path} 'multigraft[video]'"
    pip = tmp_path / "lib" / "python3.13" / "site-packages" / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").touch()
    assert installing.install_package("x") == f"run: {tmp_path}/bin/python -m pip install x"


def test_the_systems_python_takes_a_virtual_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand(monkeypatch, None)
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert "venv" not in installing.install_extra("serial")
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    assert installing.install_extra("serial") == (
        "run: python3 -m venv --system-site-packages .venv && .venv/bin/python -m pip install 'multigraft[serial]'"
    )


@pytest.mark.parametrize("text", ["", "[]", "{", '{"url": 3}', '{"dir_info": null, "url": "file:///nowhere"}'])
def test_a_damaged_origin_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    stand(monkeypatch, None)
    monkeypatch.setattr(Installed, "read_text", lambda self, name: text)
    assert installing.install_extra("serial").endswith("pip install 'multigraft[serial]'")


def test_in_the_debian_package(monkeypatch: pytest.MonkeyPatch) -> None:
    stand(monkeypatch, None, "/usr/lib/multigraft")
    assert installing.install_extra("video") == "run: sudo apt install python3-opencv"
    assert "~/multigraft/bin/pip install 'multigraft[privacy]'" in installing.install_extra("privacy")
    assert installing.install_package("numpy<2") == "run: sudo apt install --reinstall multigraft"


def test_whether_packages_of_the_system_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert not installing.sees_system_packages()
    for value, seen in (("true", True), ("false", False)):
        (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = {value}\n")
        assert installing.sees_system_packages() is seen
    assert installing.show_system_packages() == f"run: python3 -m venv --system-site-packages {tmp_path}"


def raised(module: str, path: Path, error: Exception) -> Exception:
    """An error as importing a module of that file would raise it."""
    try:
        exec(compile("raise error", str(path), "exec"), {"__name__": module, "error": error})
    except Exception as caught:
        return caught
    raise AssertionError


def test_a_package_of_the_system_beside_another_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    stand(monkeypatch, None)
    changed = ValueError("numpy.dtype size changed, may indicate binary incompatibility")
    system = raised("simplejpeg", Path("/usr/lib/python3/dist-packages/simplejpeg.py"), changed)
    wanted = "numpy<2" if sys.version_info < (3, 13) else "numpy>=2"
    assert installing.repair(system, "x") == f"run: /srv/environment/bin/python -m pip install '{wanted}'"
    own = raised("simplejpeg", Path("/srv/environment/lib/site-packages/simplejpeg.py"), changed)
    assert installing.repair(own, "x").endswith("pip install --force-reinstall --no-cache-dir simplejpeg")


def test_a_damaged_package_of_the_system() -> None:
    broken = ImportError("/usr/lib/_imaging.so: undefined symbol: ImagingMissing")
    error = raised("serial", Path("/usr/lib/python3/dist-packages/serial/__init__.py"), broken)
    assert installing.repair(error, "x") == "run: sudo apt install --reinstall python3-serial"


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_a_package_with_a_file_that_was_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str) -> None:
    stand(monkeypatch, None)
    site = tmp_path / folder
    (site / "halved").mkdir(parents=True)
    (site / "halved" / "__init__.py").write_text("def half(")
    monkeypatch.syspath_prepend(site)
    with pytest.raises(SyntaxError) as caught:
        importlib.import_module("halved")
    assert "this copy is damaged" in installing.how_missing(caught.value)
    remedy = installing.repair(caught.value, "run: usual")
    assert remedy == (
        "run: sudo apt install --reinstall python3-halved"
        if folder == "dist-packages"
        else "run: /srv/environment/bin/python -m pip install --force-reinstall --no-cache-dir halved"
    )


def test_a_package_that_raises_what_is_not_known_is_installed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    stand(monkeypatch, None)
    error = raised("PIL", Path("/srv/environment/lib/site-packages/PIL/__init__.py"), RuntimeError("odd"))
    assert installing.repair(error, "run: usual").endswith("--force-reinstall --no-cache-dir pillow")


def test_what_removes_a_package_where_the_user_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand(monkeypatch, None, str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"cv2": ["opencv-python"]})
    lost = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    error = raised("cv2", tmp_path / "cv2.py", lost)
    assert "(pip uninstall -y opencv-python); then run:" in installing.repair(error, "x")
    (tmp_path / "pipx_metadata.json").touch()
    assert "(pipx runpip multigraft uninstall -y opencv-python); then run: pipx" in installing.repair(error, "x")
    (tmp_path / "uv-receipt.toml").touch()
    assert f"(uv pip uninstall --python {tmp_path} opencv-python); then run: uv" in installing.repair(error, "x")


def test_what_is_not_known_gets_the_usual_remedy() -> None:
    assert installing.repair(RuntimeError("?"), "run: this") == "run: this"
    assert installing.repair(ModuleNotFoundError("No module named 'cv2'", name="cv2"), "run: this") == "run: this"
