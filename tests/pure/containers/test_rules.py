"""The container rules, value by value."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from docker.types import LogConfig, Ulimit
from docker.types import Mount as EngineMount

from harness.containers.engine import EngineInfo
from harness.containers.rules import (
    ContainerSpec,
    Limits,
    Mount,
    create_arguments,
    give_folder,
    user_for,
)
from harness.errors import EngineError

INFO = EngineInfo(kind="docker", version="28.0", api_version="1.48", address="unix:///s")
SPEC = ContainerSpec(
    image="sha256:abc",
    command=("/opt/env/bin/python", "-m", "runner", "/work/job.json"),
    name="onnxruntime-1.31",
    mounts=(
        Mount("/cache/runner", "/opt/harness"),
        Mount("/tmp/h/1", "/run/harness", read_only=False),
        Mount("images", "/inputs/data", volume=True),
    ),
    output=Path("/store/.work/cell"),
    env={"PYTHONPATH": "/opt/harness"},
    labels={"io.harness.owner": "harness"},
    limits=Limits(memory_mib=4096, tmp_mib=512, shm_mib=64, pids=99, output_bytes=1 << 30),
    cores=(2, 3),
    stdin=True,
)
TMPFS = "rw,exec,nosuid,nodev,size=512m,mode=1777"


def test_every_argument_of_a_cells_container() -> None:
    arguments = create_arguments(SPEC, INFO, "1000:1000")
    environment = arguments.pop("environment")
    assert arguments == {
        "image": "sha256:abc",
        "entrypoint": ["/opt/env/bin/python"],
        "command": ["-m", "runner", "/work/job.json"],
        "hostname": "harness",
        "user": "1000:1000",
        "working_dir": "/work",
        "labels": {"io.harness.name": "onnxruntime-1.31", "io.harness.owner": "harness"},
        "mounts": [
            EngineMount("/opt/harness", "/cache/runner", type="bind", read_only=True),
            EngineMount("/run/harness", "/tmp/h/1", type="bind", read_only=False),
            EngineMount("/inputs/data", "images", type="volume", read_only=True, no_copy=True),
            EngineMount("/work", "/store/.work/cell", type="bind", read_only=False),
        ],
        "tmpfs": {"/tmp": TMPFS, "/tmp/home": TMPFS},
        "shm_size": 64 << 20,
        "mem_limit": 4096 << 20,
        "memswap_limit": 4096 << 20,
        "pids_limit": 99,
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="fsize", soft=(1 << 30) + (64 << 20), hard=(1 << 30) + (64 << 20)),
        ],
        "network_mode": "none",
        "ipc_mode": "private",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "init": True,
        "stdin_open": True,
        "log_config": LogConfig(type="none"),
        "healthcheck": {"test": ["NONE"]},
        "use_config_proxy": False,
        "cpuset_cpus": "2,3",
    }
    assert environment["HOME"] == "/tmp/home"
    assert environment["TMPDIR"] == "/tmp"
    assert environment["XDG_CACHE_HOME"] == "/tmp/home/.cache"
    assert environment["PYTHONPATH"] == "/opt/harness"
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_what_is_not_asked_for_is_not_there() -> None:
    arguments = create_arguments(ContainerSpec("i", ("true",), "n"), INFO, "1:1")
    assert arguments["mounts"] == []
    assert arguments["working_dir"] == "/tmp"
    assert arguments["command"] == []
    assert not arguments["stdin_open"]
    assert "cpuset_cpus" not in arguments
    assert "device_requests" not in arguments


def test_a_network_is_there_only_where_it_was_asked_for() -> None:
    spec = ContainerSpec("i", ("true",), "n", network=True)
    assert create_arguments(spec, INFO, "1:1")["network_mode"] == "bridge"


def test_a_cell_with_a_gpu_sees_that_one_alone() -> None:
    info = replace(INFO, runtimes=("nvidia", "runc"))
    arguments = create_arguments(replace(SPEC, gpu="GPU-1"), info, "1:1")
    (request,) = arguments["device_requests"]
    assert request["DeviceIDs"] == ["GPU-1"]
    assert arguments["environment"]["NVIDIA_VISIBLE_DEVICES"] == "GPU-1"
    with pytest.raises(EngineError, match="GPU GPU-1 cannot be given"):
        create_arguments(replace(SPEC, gpu="GPU-1"), INFO, "1:1")


def test_volumes_that_an_image_declares_cannot_be_written() -> None:
    image = {"Volumes": {"/data/": {}, "/work": {}, "/cache": {}}}
    mounts = create_arguments(SPEC, INFO, "1:1", image, "token")["mounts"]
    assert [dict(mount) for mount in mounts[4:]] == [
        {
            "Target": path,
            "Source": f"harness-image-token-{n}",
            "Type": "volume",
            "ReadOnly": True,
        }
        for n, path in enumerate(("/cache", "/data"))
    ]


@pytest.mark.parametrize(
    ("of_image", "expected"),
    [
        (["PYTHONPATH=/theirs", "A=b"], "/opt/harness:/theirs"),
        (["PYTHONPATH=/opt/harness"], "/opt/harness"),
        ([], "/opt/harness"),
    ],
)
def test_an_images_own_python_path_comes_after_ours(of_image: list[str], expected: str) -> None:
    arguments = create_arguments(SPEC, INFO, "1:1", {"Env": of_image})
    assert arguments["environment"]["PYTHONPATH"] == expected


def test_selinux_lets_a_container_see_its_mounts() -> None:
    arguments = create_arguments(SPEC, replace(INFO, selinux=True), "1:1")
    assert arguments["security_opt"] == ["no-new-privileges", "label=disable"]


@pytest.mark.parametrize(
    ("uid", "gid", "rootless", "expected"),
    [
        (1000, 100, False, "1000:100"),
        (0, 0, False, "65532:65532"),
        (0, 0, True, "65532:65532"),
        (1000, 0, True, "1000:1000"),
    ],
)
def test_nobody_in_a_container_is_root(uid: int, gid: int, rootless: bool, expected: str) -> None:
    assert user_for(replace(INFO, rootless=rootless), uid, gid) == expected


def test_a_folder_is_given_to_the_containers_user(tmp_path: Path) -> None:
    own = f"{os.getuid()}:{os.getgid()}"
    tmp_path.chmod(0o500)
    give_folder(tmp_path, INFO, own)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    give_folder(tmp_path, replace(INFO, user_namespaces=True), own)
    assert tmp_path.stat().st_mode & 0o777 == 0o777
