"""Which way a container gets its GPU, on engines of every kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.containers.engine import EngineInfo
from harness.containers.gpu import cdi_devices, gpu_arguments, gpu_route
from harness.errors import EngineError

BARE = EngineInfo(
    kind="docker", version="28.0", api_version="1.48", address="", runtimes=("io.x", "runc")
)
CDI = replace(BARE, cdi_devices=("nvidia.com/gpu=0", "nvidia.com/gpu=all", "other.com/x=0"))
NVIDIA = replace(BARE, runtimes=("nvidia", "runc"))
UUID = "GPU-8f2c"


def index_of(uuid: str) -> int | None:
    return {UUID: 0}.get(uuid)


@pytest.mark.parametrize("gpu", ["0", UUID])
def test_cdi_comes_first_and_knows_a_uuid_by_its_index(gpu: str) -> None:
    both = replace(CDI, runtimes=("nvidia",))
    assert gpu_route(both)[0] == "cdi"
    arguments = gpu_arguments(both, gpu, index_of)
    assert arguments["environment"] == {"NVIDIA_VISIBLE_DEVICES": "void"}
    assert arguments["device_requests"] == [
        {
            "Driver": "cdi",
            "Count": 0,
            "DeviceIDs": ["nvidia.com/gpu=0"],
            "Capabilities": [],
            "Options": {},
        }
    ]


def test_cdi_by_uuid_needs_no_index() -> None:
    named = replace(BARE, cdi_devices=(f"nvidia.com/gpu={UUID}",))
    (request,) = gpu_arguments(named, UUID, lambda _: None)["device_requests"]
    assert request["DeviceIDs"] == [f"nvidia.com/gpu={UUID}"]


@pytest.mark.parametrize("gpu", ["1", UUID])
def test_else_the_nvidia_runtime_is_asked(gpu: str) -> None:
    assert gpu_route(NVIDIA)[0] == "nvidia"
    arguments = gpu_arguments(NVIDIA, gpu, index_of)
    assert arguments["environment"] == {"NVIDIA_VISIBLE_DEVICES": gpu}
    assert arguments["device_requests"] == [
        {
            "Driver": "nvidia",
            "Count": 0,
            "DeviceIDs": [gpu],
            "Capabilities": [["gpu", "compute", "utility"]],
            "Options": {},
        }
    ]


def test_a_gpu_that_cdi_does_not_name_goes_by_the_runtime_or_is_refused() -> None:
    both = replace(CDI, runtimes=("nvidia",))
    (request,) = gpu_arguments(both, "7", index_of)["device_requests"]
    assert request["Driver"] == "nvidia"
    with pytest.raises(EngineError, match="GPU 7 is in no CDI specification") as caught:
        gpu_arguments(CDI, "7", index_of)
    assert "nvidia-ctk cdi generate" in caught.value.remedy


def test_an_engine_without_either_refuses_and_says_what_to_install() -> None:
    route, reason = gpu_route(BARE)
    assert route is None
    assert "no runtime `nvidia`" in reason
    with pytest.raises(EngineError, match="GPU 0 cannot be given to a container") as caught:
        gpu_arguments(BARE, "0", index_of)
    for word in ("NVIDIA Container Toolkit", "cdi generate", "runtime configure"):
        assert word in caught.value.remedy


def test_podman_would_drop_the_request_so_it_is_refused() -> None:
    podman = replace(CDI, kind="podman", runtimes=("nvidia",))
    assert gpu_route(podman)[0] is None
    with pytest.raises(EngineError, match="drops GPU requests"):
        gpu_arguments(podman, "0", index_of)


@pytest.mark.parametrize("gpu", ["", "all", "0,1", "-1", "GPU-1,GPU-2"])
def test_only_one_gpu_can_be_named(gpu: str) -> None:
    with pytest.raises(EngineError, match="names no GPU"):
        gpu_arguments(NVIDIA, gpu, index_of)


def test_specifications_are_read_where_the_engine_does_not_list_devices(tmp_path: Path) -> None:
    (tmp_path / "nvidia.yaml").write_text(
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: '0'\n- name: all\n"
    )
    (tmp_path / "more.json").write_text(
        json.dumps({"kind": "nvidia.com/gpu", "devices": [{"name": "1"}, {"name": "0"}]})
    )
    (tmp_path / "other.yaml").write_text("kind: amd.com/gpu\ndevices:\n- name: '5'\n")
    (tmp_path / "broken.yaml").write_text("kind: [")
    (tmp_path / "notes.txt").write_text("kind: nvidia.com/gpu")
    info = replace(BARE, cdi_spec_dirs=(str(tmp_path), str(tmp_path / "absent")))
    assert cdi_devices(info) == ("nvidia.com/gpu=1", "nvidia.com/gpu=0", "nvidia.com/gpu=all")
    assert gpu_route(info)[0] == "cdi"
