"""The Compose files: made from images/, under the container rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.containers.limits import Limits
from harness.environments.compose import compose_documents
from harness.environments.folders import EnvironmentFolder, read_folder

REPOSITORY = Path(__file__).resolve().parents[3]
MakeFolder = Callable[..., EnvironmentFolder]
CUDA = 'accelerator = "cuda"'


def shipped() -> list[EnvironmentFolder]:
    return [read_folder(path.parent) for path in sorted(REPOSITORY.glob("images/*/env.toml"))]


def services(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


@pytest.fixture
def cell(make_folder: MakeFolder) -> dict[str, Any]:
    """The service of one CPU environment."""
    found: dict[str, Any] = services(compose_documents([make_folder("ort-1")])["cpu.yaml"])["ort-1"]
    return found


@pytest.fixture
def cuda_cell(make_folder: MakeFolder) -> dict[str, Any]:
    """The service of one CUDA environment."""
    folder = make_folder("ort-cuda", extra=CUDA)
    found: dict[str, Any] = services(compose_documents([folder])["gpu.yaml"])["ort-cuda"]
    return found


@pytest.mark.parametrize("name", ["cpu.yaml", "gpu.yaml"])
def test_the_committed_file_is_what_images_make(name: str) -> None:
    committed = (REPOSITORY / "compose" / name).read_text(encoding="utf-8")
    assert committed == compose_documents(shipped())[name], (
        f"compose/{name} is older than images/: `harness env compose` writes it again"
    )


def test_each_environment_is_a_service_in_the_file_of_its_device(make_folder: MakeFolder) -> None:
    documents = compose_documents(
        [
            make_folder("b-cpu"),
            make_folder("a-cpu"),
            make_folder("ort-cuda", extra=CUDA),
            make_folder("ort-rocm", extra='accelerator = "rocm"'),
        ]
    )
    assert list(services(documents["cpu.yaml"])) == ["a-cpu", "b-cpu", "harness"]
    assert list(services(documents["gpu.yaml"])) == ["ort-cuda", "harness"]


def test_without_a_cuda_environment_the_gpu_file_still_sweeps(make_folder: MakeFolder) -> None:
    assert list(services(compose_documents([make_folder("ort-1")])["gpu.yaml"])) == ["harness"]


def test_a_cell_runs_the_image_that_was_built_and_pulls_nothing(cell: dict[str, Any]) -> None:
    assert (cell["image"], cell["pull_policy"]) == ("harness/ort-1:latest", "never")


def test_a_cell_takes_a_job_and_is_not_ended_by_a_closed_input(cell: dict[str, Any]) -> None:
    assert cell["entrypoint"] == [
        "/bin/sh",
        "-c",
        'exec /opt/env/bin/python -m runner "$$@" </dev/null',
        "runner",
    ]
    assert cell["environment"]["PYTHONPATH"] == "/opt/harness"


def test_a_cell_is_under_the_container_rules(cell: dict[str, Any]) -> None:
    limits = Limits()
    assert cell["network_mode"] == "none"
    assert cell["read_only"] is True
    assert cell["cap_drop"] == ["ALL"]
    assert cell["security_opt"] == ["no-new-privileges:true"]
    assert cell["init"] is True
    assert cell["user"] == "${HARNESS_USER:-65532:65532}"
    assert cell["mem_limit"] == cell["memswap_limit"] == limits.memory_mib << 20
    assert cell["shm_size"] == limits.shm_mib << 20
    assert cell["pids_limit"] == limits.pids
    assert cell["ulimits"]["core"] == {"soft": 0, "hard": 0}
    assert cell["ulimits"]["fsize"]["hard"] >= limits.output_bytes
    (tmp,) = [entry for entry in cell["tmpfs"] if entry.startswith("/tmp:")]
    assert {"exec", "nosuid", f"size={limits.tmp_mib}m"} <= set(tmp.partition(":")[2].split(","))
    assert "privileged" not in cell


def test_only_results_can_be_written(cell: dict[str, Any]) -> None:
    assert cell["volumes"] == [
        "${HARNESS_DATA:-data}:/data:ro",
        "${HARNESS_MODELS:-models}:/models:ro",
        "${HARNESS_JOBS:-jobs}:/jobs:ro",
        "${HARNESS_RESULTS:-results}:/results",
        "${HARNESS_RUNNER:-../runner}:/opt/harness/runner:ro",
    ]


def test_a_cuda_cell_reserves_exactly_one_gpu(cuda_cell: dict[str, Any]) -> None:
    (device,) = cuda_cell["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert device["device_ids"] == ["${HARNESS_GPU:-0}"]
    assert "gpu" in device["capabilities"]
    assert cuda_cell["environment"]["NVIDIA_VISIBLE_DEVICES"] == "${HARNESS_GPU:-0}"


def test_a_cpu_cell_sees_no_gpu(cell: dict[str, Any]) -> None:
    assert "deploy" not in cell
    assert cell["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_a_cuda_cell_is_under_the_same_rules(
    cell: dict[str, Any], cuda_cell: dict[str, Any]
) -> None:
    own = {"image", "labels", "environment", "deploy"}
    assert {k: v for k, v in cuda_cell.items() if k not in own} == {
        k: v for k, v in cell.items() if k not in own
    }


def test_the_harness_has_a_network_and_no_rights(make_folder: MakeFolder) -> None:
    harness = services(compose_documents([make_folder("ort-1")])["gpu.yaml"])["harness"]
    assert "network_mode" not in harness
    assert (harness["read_only"], harness["cap_drop"]) == (True, ["ALL"])
    assert harness["build"]["secrets"] == ["ca_bundle", "pip_conf"]
    assert harness["deploy"]["resources"]["reservations"]["devices"][0]["count"] == "all"
    assert not [mount for mount in harness["volumes"] if "docker.sock" in mount]


def test_every_variable_is_explained() -> None:
    used = set()
    for path in (REPOSITORY / "compose").glob("*.yaml"):
        used |= set(re.findall(r"HARNESS_[A-Z_]+", path.read_text(encoding="utf-8")))
    used -= {"HARNESS_HOME"}  # a variable of the harness itself, set inside
    readme = (REPOSITORY / "compose" / "README.md").read_text(encoding="utf-8")
    assert sorted(name for name in used if name not in readme) == []
