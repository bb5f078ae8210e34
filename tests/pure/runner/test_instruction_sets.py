"""Ceilings in the runner: what it sets, how it begins once more, and that others say the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.environments import instruction_sets as of_harness
from harness.environments.adhoc import as_toml
from harness.environments.folders import read_folder
from harness.errors import EnvironmentSpecError
from harness.paths import shipped
from runner import instruction_sets
from runner.backends.base import LoadRequest, Offer
from runner.errors import RunnerError
from runner.instruction_sets import GCC, HONOURED, LADDER, LLVM, NO_CEILING, XLA, enter, variables

OFFER = Offer("toy", ("onnx",), devices=("cpu", "cuda"), instruction_sets=("avx", "avx2"))
ALL_FLAGS = [flag for flags in of_harness.FLAGS.values() for flag in flags]
# By older versions of a stack, which env.toml knows and the runner finds out.
CANNOT = {("torch-2.4-cuda", "torch.compile"), ("torch-2.4-cuda", "torch.export")}
CANNOT |= {("tensorflow-2.15", "tensorflow.xla")}


def request(instruction_set: str, device: str = "cpu", backend: Offer = OFFER) -> dict[str, Any]:
    asked = LoadRequest("m", "onnx", {}, "f32", device, 1, 1, (3,), instruction_set=instruction_set)
    return backend.accept(asked)


def test_the_harness_and_the_runner_know_the_same_steps() -> None:
    assert of_harness.LADDER == LADDER
    assert of_harness.OWN == instruction_sets.OWN
    assert of_harness.FLAGS == instruction_sets._FLAGS
    assert set(LLVM) == set(GCC) == {*XLA, "sse4.1"} == set(LADDER)
    for ceiling in LADDER:
        assert tuple(of_harness.lacking(ceiling, [])) == instruction_sets.lacking(ceiling, [])


@pytest.mark.parametrize(
    "path", sorted(shipped("images").glob("*/env.toml")), ids=lambda p: p.parent.name
)
def test_every_environment_says_of_each_backend_what_the_runner_says(path: Path) -> None:
    folder = read_folder(path.parent)
    said = folder.file.instruction_sets
    assert set(said) == set(folder.file.backends)
    for backend, kept in said.items():
        if (folder.name, backend) in CANNOT:
            assert isinstance(kept, str)
        else:
            assert kept == HONOURED.get(backend, NO_CEILING.get(backend))


def test_an_environment_that_names_a_backend_that_it_lacks_is_refused(tmp_path: Path) -> None:
    text = 'stack="s"\nversion="1"\npackage="p"\npython=["3.11"]\n[backends]\nb=["onnx"]\n'
    (tmp_path / "env.toml").write_text(text + '[instruction_sets]\nb = ["avx2"]\n')
    file = read_folder(tmp_path).file
    (tmp_path / "env.toml").write_text(as_toml(file))
    assert read_folder(tmp_path).file == file
    for wrong, words in (
        ('c = ["avx2"]', "names c, which is no backend"),
        ('b = ["mmx"]', "mmx|avx2"),
    ):
        (tmp_path / "env.toml").write_text(text + f"[instruction_sets]\n{wrong}\n")
        with pytest.raises(EnvironmentSpecError, match=words):
            read_folder(tmp_path)


def test_a_backend_takes_what_it_offers_and_says_why_not() -> None:
    assert request("own") == request("avx2") == {}
    with pytest.raises(
        RunnerError, match=r"toy .* instruction set 'amx' .*own, avx, avx2.*be told"
    ):
        request("amx")
    with pytest.raises(RunnerError, match=r"onnxruntime .* 'avx2' \(it supports: own\): .*MLAS"):
        request("avx2", backend=Offer("onnxruntime", ("onnx",)))
    with pytest.raises(
        RunnerError, match=r"instruction set on cuda 'avx' .*a ceiling is for the CPU"
    ):
        request("avx", device="cuda")
    assert request("own", device="cuda") == {}
    assert OFFER.as_document()["instruction_sets"] == ["own", "avx", "avx2"]


def test_what_lies_above_is_switched_off_in_each_library() -> None:
    avx2 = variables("avx2")
    assert avx2["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert avx2["ATEN_CPU_CAPABILITY"] == "avx2"
    assert avx2["MKL_ENABLE_INSTRUCTIONS"] == "AVX2"
    assert avx2["GLIBC_TUNABLES"].startswith("glibc.cpu.hwcaps=-AVX512F,")
    assert "-AVX2" not in avx2["GLIBC_TUNABLES"].split(",")
    assert "MKL_CBWR" not in avx2
    low = variables("sse4.1")
    assert (low["ATEN_CPU_CAPABILITY"], low["MKL_CBWR"]) == ("default", "COMPATIBLE")
    assert {"-AVX2", "-FMA"} <= set(low["GLIBC_TUNABLES"].partition("=")[2].split(","))
    assert "GLIBC_TUNABLES" not in variables("avx512")
    assert "NPY_DISABLE_CPU_FEATURES" not in variables("avx512")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happened in order: that things were handed over, and the command of a new beginning."""
    found: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda path, command: found.append((path, command)))
    monkeypatch.setattr(instruction_sets, "cpu", lambda: {"flags": ALL_FLAGS})
    monkeypatch.setattr(instruction_sets.platform, "machine", lambda: "x86_64")
    return found


def test_a_job_without_a_ceiling_goes_on_as_it_is(begun: list[Any]) -> None:
    environment: dict[str, str] = {}
    enter("own", ["job.json"], lambda: begun.append("handed over"), environment)
    assert (begun, environment) == ([], {})


def test_a_ceiling_begins_the_process_once_more_and_not_twice(begun: list[Any]) -> None:
    environment = {"PYTHONWARNINGS": "error"}
    enter("avx2", ["job.json"], lambda: begun.append("handed over"), environment)
    assert begun[0] == "handed over"
    path, command = begun[1]
    assert path == command[0]
    assert environment.items() >= variables("avx2").items()
    assert environment["PYTHONWARNINGS"].startswith("error,ignore:During parsing")
    enter("avx2", ["job.json"], lambda: begun.append("handed over"), environment)
    assert len(begun) == 2


def test_a_processor_that_does_not_reach_it_is_told_what_it_lacks(
    begun: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruction_sets, "cpu", lambda: {"flags": ["ssse3", "sse4_1", "avx"]})
    enter("avx", ["job.json"], lambda: None, {})
    with pytest.raises(RunnerError, match="not reach the instruction set avx2: it lacks avx2, fma"):
        enter("avx2", ["job.json"], lambda: None, {})
    monkeypatch.setattr(instruction_sets.platform, "machine", lambda: "aarch64")
    with pytest.raises(RunnerError, match="one of x86 processors, and this one is aarch64"):
        enter("avx", ["job.json"], lambda: None, {})
    assert len(begun) == 1
