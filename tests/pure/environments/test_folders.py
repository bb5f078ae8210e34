"""Environment folders: the shipped ones are sound, and bad ones are refused by name and place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

from harness.environments.folders import lock_hash, pinned_packages, read_folder
from harness.errors import EnvironmentSpecError
from harness.paths import shipped

SHIPPED = sorted(path.parent for path in shipped("images").glob("*/env.toml"))
MINIMAL = """
stack = "onnxruntime"
version = "1.31.1"
package = "onnxruntime"
python = ["3.11"]
[backends]
onnxruntime = ["onnx"]
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "env.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_environments_of_the_design_are_shipped():
    assert {path.name for path in SHIPPED} >= {
        "onnxruntime-1.31",
        "onnxruntime-1.20",
        "onnxruntime-1.17",
        "openvino-2026.4",
        "litert-2.3",
        "torch-2.13",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_environment_has_a_lock_for_each_python_it_supports(path: Path):
    folder = read_folder(path)
    assert folder.locked_pythons == folder.file.python
    for python in folder.file.python:
        text = folder.lock_path(python).read_text(encoding="utf-8")
        pins = pinned_packages(text)
        assert Version(pins[folder.file.package]) == Version(folder.file.version)
        assert "numpy" in pins
        assert not re.search(r"https?://|file://|--index|--find-links|/(tmp|home|opt)/", text)
        assert len(lock_hash(folder.lock_path(python))) == 64


def test_two_versions_of_onnx_runtime_have_wheels_for_every_python_of_the_harness():
    for python in ("3.11", "3.12", "3.13"):
        supporting = [
            path.name
            for path in SHIPPED
            if path.name.startswith("onnxruntime-") and python in read_folder(path).file.python
        ]
        assert len(supporting) >= 2


def test_an_environment_file_is_read(tmp_path: Path):
    folder = read_folder(write(tmp_path / "onnxruntime-9.9", MINIMAL))
    assert folder.name == "onnxruntime-9.9"
    assert folder.file.backends == {"onnxruntime": ("onnx",)}
    assert folder.file.accelerator == "cpu"
    assert folder.locked_pythons == ()


def test_an_environment_may_only_prepare_images(tmp_path: Path):
    text = MINIMAL.partition("[backends]")[0] + 'backends = {}\npreprocessors = ["pillow"]\n'
    folder = read_folder(write(tmp_path / "imaging-9.9", text))
    assert folder.file.backends == {}
    assert folder.file.preprocessors == ("pillow",)
    assert folder.file.corruptions == ()


def test_the_shipped_environments_say_what_prepares_images_in_them():
    found = {path.name: read_folder(path).file for path in SHIPPED}
    assert found["torch-2.13"].preprocessors == ("torchvision", "pillow")
    assert found["tensorflow-2.21"].preprocessors == ("tensorflow",)
    assert found["tensorflow-2.15"].preprocessors == ("tensorflow",)
    assert found["onnxruntime-1.31"].preprocessors == ()
    without = [name for name, file in found.items() if not file.backends]
    assert without == ["imaging-13.0"]
    assert found["imaging-13.0"].preprocessors == ("pillow", "opencv")
    assert found["imaging-13.0"].corruptions == ("imagecorruptions",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINIMAL.partition("[backends]")[0] + "backends = {}", "it is to do something"),
        (MINIMAL.partition("[backends]")[0], "backends: Field required"),
        ("colour = 'red'\n" + MINIMAL, "colour: unknown key"),
        (MINIMAL.replace('version = "1.31.1"', 'version = "one"'), "'one' is not a version"),
        (MINIMAL.replace('["3.11"]', '["311"]'), "python.0"),
        (MINIMAL.replace('stack = "onnxruntime"', ""), "stack: Field required"),
        ("accelerator = 'tpu'\n" + MINIMAL, "accelerator"),
        ("extra_index = ['https://me:hunter2@host/simple']\n" + MINIMAL, "user or password"),
        ("stack = ", "not valid TOML"),
    ],
)
def test_a_bad_environment_file_is_refused_with_its_place(tmp_path: Path, text: str, says: str):
    with pytest.raises(EnvironmentSpecError) as error:
        read_folder(write(tmp_path / "bad", text))
    assert says in str(error.value)
    assert "env.toml" in str(error.value)


def test_the_password_of_a_refused_index_is_not_shown(tmp_path: Path):
    text = "extra_index = ['https://me:hunter2@host/simple']\n" + MINIMAL
    with pytest.raises(EnvironmentSpecError) as error:
        read_folder(write(tmp_path / "bad", text))
    assert "hunter2" not in str(error.value)


def test_a_folder_without_env_toml_is_refused(tmp_path: Path):
    with pytest.raises(EnvironmentSpecError, match=r"has no env\.toml"):
        read_folder(tmp_path)


def test_a_plain_lock_serves_the_only_python(tmp_path: Path):
    path = write(tmp_path / "one", MINIMAL)
    (path / "requirements.lock").write_text("numpy==2.0 --hash=sha256:00\n", encoding="utf-8")
    folder = read_folder(path)
    assert folder.locked_pythons == ("3.11",)
    assert folder.lock_path("3.11").name == "requirements.lock"
    with pytest.raises(EnvironmentSpecError, match=r"no lock for Python 3\.12"):
        folder.lock_path("3.12")


@pytest.mark.parametrize("text", ["numpy==2.0\n", "numpy==2.0 \\\n    # via x\n", "# empty\n"])
def test_a_lock_without_hashes_is_refused(tmp_path: Path, text: str):
    lock = tmp_path / "requirements-3.11.lock"
    lock.write_text(text, encoding="utf-8")
    with pytest.raises(EnvironmentSpecError, match=r"without a hash|pins no package"):
        lock_hash(lock)
