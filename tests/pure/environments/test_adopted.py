"""Adopted environments: which references there are, and what a probe makes of one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from harness.environments.adopted import environment_from, is_adopted, is_image, name_of
from harness.environments.adopted_image import check_reference, is_pinned
from harness.environments.adopted_python import Answer, best, read_answers
from harness.errors import EnvironmentSpecError, ProvisionError

DIGEST = "sha256:" + "0123456789ab" + "c" * 52


def backend(stack: str, *, ok: bool = True, **changes: Any) -> dict[str, Any]:
    return {
        "ok": ok,
        "stack": stack,
        "version": "1.20.1" if ok else "",
        "detail": "" if ok else "ModuleNotFoundError: No module named 'x'",
        "formats": ["onnx"] if ok else [],
        "providers": ["CPUExecutionProvider"] if ok else [],
        "started": ["CPUExecutionProvider"] if ok else [],
        "refused": {},
        **changes,
    }


def probed() -> dict[str, Any]:
    return {
        "event": "probe",
        "python": "3.11.2",
        "platform": "Linux-6.1-x86_64",
        "machine": "x86_64",
        "libc": "glibc 2.36",
        "packages": {"onnxruntime": "1.20.1", "numpy": "2.2.6"},
        "contents": {"onnxruntime": "a" * 64},
        "backends": {
            "onnxruntime": backend("onnxruntime"),
            "openvino": backend("openvino", ok=False),
            "tflite": backend("litert", ok=False),
            "torch.eager": backend("torch", version="2.6.0", formats=["pt2"], providers=["native"]),
            "null": backend("", version="2.2.6", formats=["json"], providers=["cpu"]),
        },
        "converters": {"onnx>torch": {"ok": True, "detail": ""}},
        "builds": {"onnxruntime": {"git": "5c1b7cc"}},
        "cpu": {"model": "A", "flags": ["avx"], "flags_sha256": "0", "cores": 2, "used": {}},
        "gpus": [],
        "gpu_driver": {"driver": "", "cuda": "", "detail": "none"},
        "distribution": {"id": "debian", "version": "12"},
        "system_packages": {"libc6": "2.36"},
    }


def put(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(event: dict[str, Any]) -> None:
        for key in path[:-1]:
            event = event[key]
        event[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("reference", "adopted", "image"),
    [
        (f"image:repo/name@{DIGEST}", True, True),
        ("python:/opt/conda/bin/python", True, False),
        ("onnxruntime-1.31", False, False),
        ("onnxruntime==1.25.1", False, False),
        ("images/onnxruntime-1.31", False, False),
    ],
)
def test_references_are_told_apart_by_their_beginning(
    reference: str, adopted: bool, image: bool
) -> None:
    assert (is_adopted(reference), is_image(reference)) == (adopted, image)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (f"image:nvcr.io/nvidia/x@{DIGEST}", "image:nvcr.io/nvidia/x@sha256:0123456789ab"),
        (f"image:{DIGEST}", "image:sha256:0123456789ab"),
        ("image:localhost:5000/team/x:1.2", "image:localhost:5000/team/x:1.2"),
        ("python:/opt/conda/bin/python", "python:/opt/conda/bin/python"),
        ("python:~/venv/bin/python", "python:~/venv/bin/python"),
    ],
)
def test_a_name_is_the_reference_with_its_digest_shortened(reference: str, name: str) -> None:
    assert name_of(reference) == name


@pytest.mark.parametrize("reference", ["python:", "python:  ", "image:", "image:a b", "image:-x"])
def test_a_reference_without_anything_behind_it_is_refused(reference: str) -> None:
    with pytest.raises(EnvironmentSpecError):
        name_of(reference)


@pytest.mark.parametrize("text", ["x@sha256:123", "x@md5:" + "0" * 32, "sha256:12", "--help"])
def test_what_is_no_image_reference_is_refused_with_what_would_be_one(text: str) -> None:
    if text == "sha256:12":
        # Docker understands it as the tag `12` of a repository `sha256`, and so it is.
        assert check_reference(text) == text
        return
    with pytest.raises(EnvironmentSpecError, match="REPO/NAME@sha256"):
        check_reference(text)


def test_only_a_digest_or_an_id_is_pinned() -> None:
    assert is_pinned(f"x@{DIGEST}")
    assert is_pinned(DIGEST)
    assert not is_pinned("x:1.2")
    assert not is_pinned("sha256:12")


def test_an_environment_takes_its_stack_from_the_first_backend_that_works() -> None:
    env = environment_from(probed(), "image:x", "image:x", "image")
    assert (env.name, env.stack, env.version) == ("image:x", "onnxruntime", "1.20.1")
    assert env.backends == ("onnxruntime", "torch.eager")
    assert env.formats == {"onnxruntime": ("onnx",), "torch.eager": ("pt2",)}
    assert env.converters == {"onnx>torch": ()}
    assert (env.executor, env.kind, env.accelerator) == ("docker", "image", "cpu")
    assert (env.python, env.lock_sha256, env.folder) == ("3.11.2", None, None)
    here = environment_from(probed(), "python:x", "python:x", "python")
    assert (here.executor, here.kind, here.reference) == ("venv", "python", "python:x")


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "cuda"])
def test_a_build_for_cuda_is_an_environment_for_cuda_with_or_without_a_gpu_here(
    provider: str,
) -> None:
    event = probed()
    event["backends"]["onnxruntime"]["providers"] = [provider, "CPUExecutionProvider"]
    assert environment_from(event, "x", "image:x", "image").accelerator == "cuda"


def identity(event: dict[str, Any], kind: Any = "image", variables: Any = ()) -> str:
    return environment_from(event, "x", "image:x", kind, variables).identity


@pytest.mark.parametrize(
    "change",
    [
        put("2.2.5", "packages", "numpy"),
        put("1.0", "packages", "added"),
        put("b" * 64, "contents", "onnxruntime"),
        put("3.11.3", "python"),
        put("aarch64", "machine"),
        put("glibc 2.39", "libc"),
        put("beef", "builds", "onnxruntime", "git"),
        put("1.20.2", "backends", "onnxruntime", "version"),
        put("2.37", "system_packages", "libc6"),
        put("13", "distribution", "version"),
    ],
)
def test_what_can_change_an_answer_changes_the_identity(
    change: Callable[[dict[str, Any]], None],
) -> None:
    other = copy.deepcopy(probed())
    change(other)
    assert identity(other) != identity(probed())


@pytest.mark.parametrize(
    "change",
    [
        put("Linux-6.8", "platform"),
        put("Another CPU", "cpu", "model"),
        put(["avx512f"], "cpu", "flags"),
        put({"torch": ["AVX512"]}, "cpu", "used"),
        put([{"index": 0, "name": "GPU"}], "gpus"),
        put("570", "gpu_driver", "driver"),
        put([], "backends", "onnxruntime", "started"),
        put("another reason", "backends", "openvino", "detail"),
    ],
)
def test_what_the_machine_has_does_not(change: Callable[[dict[str, Any]], None]) -> None:
    other = copy.deepcopy(probed())
    change(other)
    assert identity(other) == identity(probed())


def test_what_an_image_sets_for_its_programs_is_part_of_it() -> None:
    assert identity(probed(), variables=["TF_ENABLE_ONEDNN_OPTS=0"]) != identity(probed())


def test_the_systems_packages_are_no_part_of_an_interpreter_of_this_machine() -> None:
    other = probed()
    other["system_packages"] = {"vim": "9"}
    assert identity(other, "python") == identity(probed(), "python")
    assert identity(probed(), "python") != identity(probed(), "image")


def test_an_environment_in_which_nothing_runs_a_model_is_refused_with_each_reason() -> None:
    event = probed()
    event["backends"]["onnxruntime"] = backend("onnxruntime", ok=False)
    event["backends"]["torch.eager"] = backend(
        "torch", ok=False, detail="OSError: libtorch is broken"
    )
    with pytest.raises(ProvisionError) as caught:
        environment_from(event, "image:x", "image:x", "image")
    assert caught.value.message == (
        "Nothing in image:x runs a model (torch.eager: OSError: libtorch is broken; "
        "not installed: onnxruntime, openvino, tflite)."
    )


def test_the_stack_it_is_called_after_has_an_order_and_keras_comes_last() -> None:
    event = probed()
    event["backends"] = {
        "keras.predict": backend("keras", formats=["keras"]),
        "tpu": backend("tpu", formats=["onnx"]),
        "torch.eager": backend("torch", version="2.6.0", formats=["pt2"]),
        "jax": backend("jax", formats=["jax"]),
    }
    env = environment_from(event, "image:x", "image:x", "image")
    assert env.backends == ("torch.eager", "jax", "tpu", "keras.predict")
    assert (env.stack, env.version) == ("torch", "2.6.0")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (put(None, "packages"), "packages"),
        (put({"numpy": 2}, "packages"), "packages.numpy"),
        (lambda event: event.pop("libc"), "libc"),
    ],
)
def test_an_answer_that_is_no_probe_is_refused(
    change: Callable[[dict[str, Any]], None], where: str
) -> None:
    event = probed()
    change(event)
    with pytest.raises(ProvisionError, match=f"something else: {where}"):
        environment_from(event, "x", "image:x", "image")


def answer(path: str, version: tuple[int, ...] = (3, 11, 2), **changes: Any) -> Answer:
    return Answer(path, version, changes.get("numpy", True), changes.get("stacks", ()))


def test_the_first_python_with_a_framework_is_taken_then_the_first_with_numpy() -> None:
    plain, conda = answer("/usr/bin/python3"), answer("/opt/conda/bin/python", stacks=("torch",))
    old = answer("/usr/bin/python", (2, 7, 18))
    assert best("x", [old, plain, conda]) is conda
    assert best("x", [old, plain]) is plain


def test_pythons_that_can_not_be_used_are_named_with_what_they_lack() -> None:
    with pytest.raises(ProvisionError) as caught:
        best("image:x", [answer("/a", (3, 7, 1)), answer("/b", numpy=False)])
    assert "/a (Python 3.7.1), /b (Python 3.11.2, without NumPy)" in caught.value.message
    assert "Python 3.8 or later with NumPy" in caught.value.remedy
    with pytest.raises(ProvisionError, match="No Python that answers was found in image:x"):
        best("image:x", [])


def test_answers_are_read_among_other_lines() -> None:
    good = '{"path": "/a", "version": [3, 8, 18], "numpy": true, "stacks": ["torch"]}'
    said = f'Welcome!\n{{"path": 1}}\n[]\n{good}\n{{"version": "x"}}\n'
    assert read_answers(said) == [Answer("/a", (3, 8, 18), True, ("torch",))]


def test_the_ceilings_that_a_backend_keeps_to_are_those_that_it_says() -> None:
    event = probed()
    offer = {"precisions": ["f32"], "devices": ["cpu"], "settings": {}}
    kept = {**offer, "instruction_sets": ["own", "avx", "avx2"]}
    put(kept, "backends", "torch.eager", "offer")(event)
    put(offer, "backends", "onnxruntime", "offer")(event)
    made = environment_from(event, "n", "python:/p", "python")
    assert made.instruction_sets["torch.eager"] == ("avx", "avx2")
    assert made.instruction_sets["onnxruntime"] == "it names none that it keeps to"
