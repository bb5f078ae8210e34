"""`package==version`: understood, refused clearly, and written as a folder like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from harness.environments import adhoc
from harness.environments.folders import read_folder
from harness.environments.interpreters import running
from harness.environments.registry import folders
from harness.environments.uv import UvError, UvFailure
from harness.errors import EnvironmentSpecError
from harness.paths import shipped
from harness.progress import SilentProgress

SHIPPED = [read_folder(path.parent) for path in sorted(shipped("images").glob("*/env.toml"))]
LOCK = "onnxruntime==1.25.1 --hash=sha256:00\nnumpy==2.4.6 --hash=sha256:00\n"


@pytest.mark.parametrize(
    ("reference", "package", "version", "folder"),
    [
        ("onnxruntime==1.25.1", "onnxruntime", "1.25.1", "onnxruntime-1.25.1"),
        (" OnnxRuntime == 1.25.1 ", "onnxruntime", "1.25.1", "onnxruntime-1.25.1"),
        ("onnxruntime==1.25", "onnxruntime", "1.25", "onnxruntime-1.25.0"),
        ("onnxruntime==1.25rc1", "onnxruntime", "1.25rc1", "onnxruntime-1.25.0rc1"),
        ("ai_edge_litert==2.1.0", "ai-edge-litert", "2.1.0", "ai-edge-litert-2.1.0"),
        ("litert==2.1.0", "ai-edge-litert", "2.1.0", "ai-edge-litert-2.1.0"),
        ("torch==2.13.0+cpu", "torch", "2.13.0+cpu", "torch-2.13.0+cpu"),
        ("torch==2.12.1", "torch", "2.12.1+cpu", "torch-2.12.1+cpu"),
    ],
)
def test_a_pin_is_understood(reference: str, package: str, version: str, folder: str):
    pin = adhoc.parse_pin(reference, folders())
    assert (pin.package, pin.version, pin.folder_name) == (package, version, folder)


def test_a_pinned_folder_never_takes_the_name_of_a_shipped_one():
    names = {path.name for path in shipped("images").iterdir()}
    for folder in folders():
        short = folder.name.removesuffix("-cuda").rpartition("-")[2]
        pin = adhoc.parse_pin(f"{folder.file.package}=={short}", folders())
        assert pin.folder_name not in names


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("onnxruntime>=1.2", "does not pin a version exactly"),
        ("onnxruntime===1.2", "does not pin a version exactly"),
        ("onnxruntime==", "does not pin a version exactly"),
        ("onnxruntime==1.2.*", "'1.2.*' in 'onnxruntime==1.2.*' is not a version"),
        ("onnxrutime==1.2", "Did you mean onnxruntime==1.2?"),
        ("foo==1.0", "is not a package that environments can be made for"),
        ("foo==1.0", ", onnxruntime, onnxruntime-gpu, onnxsim, openvino, "),
    ],
)
def test_a_bad_pin_is_refused(reference: str, says: str):
    assert adhoc.is_pin(reference)
    with pytest.raises(EnvironmentSpecError) as error:
        adhoc.parse_pin(reference, folders())
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("version", "name"),
    [("1.10", "a-1.17"), ("1.19.2", "a-1.17"), ("1.20.0", "a-1.20"), ("2.0", "a-1.20")],
)
def test_the_nearest_folder_is_the_template(make_folder, version: str, name: str):
    known = [make_folder("a-1.20", version="1.20.0"), make_folder("a-1.17", version="1.17.3")]
    assert adhoc.nearest_folder(known, Version(version)).name == name


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("torch==2.14.0", "torch-2.13"),
        ("torch==2.14.0+cu128", "torch-2.13-cuda"),
        ("torch==2.14.0+cu126", "torch-2.13-cuda"),
        ("torch==2.14.0+cpu", "torch-2.13"),
    ],
)
def test_the_build_of_a_package_decides_between_folders(make_folder, reference: str, name: str):
    known = [
        make_folder("torch-2.13", package="torch", extra='local_version = "cpu"'),
        make_folder(
            "torch-2.13-cuda",
            package="torch",
            version="9.9.1",
            extra='local_version = "cu128"\naccelerator = "cuda"',
        ),
    ]
    assert adhoc.parse_pin(reference, known).template.name == name


def test_a_pin_is_locked_and_kept(monkeypatch):
    asked = []

    def compile_lock(requirements, **options):
        asked.append((requirements, options["python"]))
        return LOCK

    monkeypatch.setattr(adhoc, "compile_lock", compile_lock)
    pin = adhoc.parse_pin("onnxruntime==1.25.1", folders())
    made = adhoc.make(pin, None, SilentProgress())
    assert made.path == adhoc.home() / "onnxruntime-1.25.1"
    assert made.file.version == "1.25.1"
    assert made.file.python == (running().minor,)
    assert made.file.backends == {"onnxruntime": ("onnx",)}
    assert (made.path / "requirements.in").read_text() == "onnxruntime==1.25.1\nnumpy\n"
    adhoc.make(pin, None, SilentProgress())
    assert asked == [(("onnxruntime==1.25.1", "numpy"), running().minor)]
    assert adhoc.forget(made)
    assert not made.path.exists()


def test_what_is_released_together_is_pinned_together(monkeypatch):
    asked = []
    monkeypatch.setattr(
        adhoc, "compile_lock", lambda requirements, **_: asked.append(requirements) or LOCK
    )
    pin = adhoc.parse_pin("iree-base-compiler==3.11.0", folders())
    made = adhoc.make(pin, None, SilentProgress())
    assert asked == [("iree-base-compiler==3.11.0", "iree-base-runtime==3.11.0", "onnx", "numpy")]
    assert made.file.together == ("iree-base-runtime",)


def test_old_versions_get_the_numpy_they_need(monkeypatch):
    asked = []
    monkeypatch.setattr(
        adhoc, "compile_lock", lambda requirements, **_: asked.append(requirements) or LOCK
    )
    made = adhoc.make(adhoc.parse_pin("onnxruntime==1.18.1", folders()), None, SilentProgress())
    assert asked == [("onnxruntime==1.18.1", "numpy", "numpy<2")]
    assert read_folder(made.path).file.constraints == ()


def test_a_version_without_wheels_for_the_running_python_takes_another(monkeypatch):
    other = adhoc.Interpreter(Path("/opt/python"), "3.0.1")
    monkeypatch.setattr(adhoc, "_candidates", lambda *_: [running(), other])

    def compile_lock(requirements, **options):
        if options["python"] != "3.0":
            raise UvError(UvFailure("no-wheel", "no wheels"))
        return LOCK

    monkeypatch.setattr(adhoc, "compile_lock", compile_lock)
    progress = SilentProgress()
    made = adhoc.make(adhoc.parse_pin("onnxruntime==1.25.1", folders()), None, progress)
    assert made.file.python == ("3.0",)
    assert f"has no wheels for Python {running().minor}" in progress.notes[0]


def test_a_version_that_does_not_exist_names_the_nearest(monkeypatch):
    def compile_lock(requirements, **options):
        raise UvError(UvFailure("version", "there is no version of onnxruntime==1.99"))

    monkeypatch.setattr(adhoc, "compile_lock", compile_lock)
    monkeypatch.setattr(adhoc, "nearest_versions", lambda *_: ("1.31.0", "1.31.1"))
    pin = adhoc.parse_pin("onnxruntime==1.99", folders())
    with pytest.raises(EnvironmentSpecError) as error:
        adhoc.make(pin, None, SilentProgress())
    assert "there is no version of onnxruntime==1.99" in str(error.value)
    assert "1.31.0, 1.31.1" in str(error.value)
    assert not (adhoc.home() / pin.folder_name).exists()


def test_a_shipped_folder_is_never_forgotten(make_folder):
    folder = make_folder()
    assert not adhoc.forget(folder)
    assert folder.path.exists()


def test_env_toml_survives_writing_and_reading(tmp_path: Path):
    for folder in folders():
        path = tmp_path / folder.name
        path.mkdir()
        (path / "env.toml").write_text(adhoc.as_toml(folder.file), encoding="utf-8")
        assert read_folder(path).file == folder.file.model_copy(update={"constraints": ()})


@pytest.mark.parametrize(
    ("reference", "template", "name"),
    [
        ("tensorflow==2.18.0", "tensorflow-2.15", "tensorflow-cpu-2.18.0"),
        ("tensorflow-2.21-cuda==2.18.0", "tensorflow-2.21-cuda", "tensorflow-2.21-cuda-at-2.18.0"),
        ("torch==2.12.1", "torch-2.13", "torch-2.12.1+cpu"),
        ("torch==2.6.0+cu124", "torch-2.4-cuda", "torch-2.6.0+cu124"),
        ("torch-2.4-cuda==2.6.0", "torch-2.4-cuda", "torch-2.4-cuda-at-2.6.0"),
        ("torch-2.13-cuda==2.6.0", "torch-2.13-cuda", "torch-2.13-cuda-at-2.6.0"),
        ("litert==2.20", "litert-2.3", "ai-edge-litert-2.20.0"),
        ("tflite-runtime==2.13.0", "tflite-runtime-2.14", "tflite-runtime-2.13.0"),
        ("onnxruntime-gpu==1.18.0", "onnxruntime-1.31-cuda", "onnxruntime-gpu-1.18.0"),
        ("iree==3.11.0", "iree-3.13", "iree-base-compiler-3.11.0"),
    ],
)
def test_a_pin_of_the_shipped_stacks_has_its_template_and_a_name_of_its_own(
    reference: str, template: str, name: str
) -> None:
    pin = adhoc.parse_pin(reference, SHIPPED)
    assert pin.template.name == template
    assert pin.folder_name == name
    on_cuda = pin.template.file.accelerator == "cuda"
    assert on_cuda or not any("cuda" in r for c in pin.constraints for r in c.requires)


def test_a_build_that_no_folder_is_like_is_refused() -> None:
    with pytest.raises(EnvironmentSpecError, match=r"\+rocm6\.2 of torch"):
        adhoc.parse_pin("torch==2.6.0+rocm6.2", SHIPPED)


def test_what_was_pinned_before_is_no_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = next(f for f in SHIPPED if f.name == "tvm-0.27")
    monkeypatch.setattr(adhoc, "home", lambda: tmp_path)
    kept = replace(template, name="apache-tvm-0.26.0", path=tmp_path / "apache-tvm-0.26.0")
    assert adhoc.parse_pin("apache-tvm==0.26.0", [kept, *SHIPPED]).template is template
