"""The doctor's judgement over the facts of machines that nobody here has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.containers.engine import EngineInfo
from harness.containers.gpu import gpu_route
from harness.doctor.building import Building
from harness.doctor.cgroups import GroupLimits
from harness.doctor.checks import Check
from harness.doctor.facts import Disk, Facts, Processor
from harness.doctor.gpus import Gpu, GpuSurvey, GpuUse
from harness.doctor.report import examine

SOCKET = "unix:///var/run/docker.sock"
DOCKER = EngineInfo(
    kind="docker",
    version="28.2.2",
    api_version="1.50",
    address=SOCKET,
    storage_driver="overlay2",
    cgroup_version="2",
    root_dir="/var/lib/docker",
    runtimes=("runc",),
)
PODMAN = EngineInfo(kind="podman", version="4.3.1", api_version="1.41", address=SOCKET)
L4 = Gpu(0, "GPU-11112222", "NVIDIA L4", 23034, "580.82.07", "13.0")
GOOD = Facts(
    engine=DOCKER,
    building=Building(builder="docker 28.2.2, buildx 0.24", base="python:3.11-slim-bookworm"),
    gpus=GpuSurvey(reason="this machine has no NVIDIA GPU"),
    processor=Processor(logical=8, usable=8, governor="performance", turbo=False, smt=False),
    memory_mib=32768,
    memory_available_mib=30000,
    disks=(Disk("cache", "/home/me/.cache/harness", 80 << 30),),
    clock_source="tsc",
    clock_read_ns=40.0,
    python="3.11.7 (/usr/bin/python3)",
    uv="0.9.2",
    executor="docker",
    executor_reason="Docker 28.2.2 answers",
)
NO_ENGINE = replace(
    GOOD,
    engine=None,
    engine_reason="No container engine answers (nothing listens there).",
    engine_remedy="Install Docker: `apt-get install docker.io`",
    building=Building(),
    executor="venv",
    executor_reason="No container engine answers",
)


def with_gpu(facts: Facts, engine: EngineInfo | None) -> Facts:
    """The facts with an L4 and its driver, and the way that an engine's own answers open."""
    route, reason = gpu_route(engine) if engine is not None else (None, "")
    return replace(
        facts,
        engine=engine,
        gpus=GpuSurvey(gpus=(L4,), hardware=("PCI 0000:00:1e.0",)),
        gpu_route=route,
        gpu_route_reason=reason,
    )


def found(facts: Facts, name: str) -> Check:
    """The one check of a name."""
    (check,) = [check for check in examine(facts).checks if check.name == name]
    return check


def names(facts: Facts) -> list[str]:
    return [check.name for check in examine(facts).checks]


def test_a_good_machine_has_nothing_to_mend() -> None:
    report = examine(GOOD)
    assert {check.status for check in report.checks} <= {"ok", "info"}
    assert report.runnable
    assert found(GOOD, "auto").finding == "docker: Docker 28.2.2 answers"


def test_every_line_that_fails_or_warns_says_what_to_do() -> None:
    bad = replace(
        with_gpu(GOOD, replace(PODMAN, rootless=True, unenforced=("memory",))),
        processor=Processor(logical=8, usable=1, governor="powersave", turbo=True, smt=True),
        limits=GroupLimits(cpus=0.5, memory_mib=2048),
        load=9.0,
        clock_read_ns=900.0,
        disks=(Disk("cache", "/c", 0), Disk("results", "/r", 5 << 30), Disk("images", "/i", 1)),
        uv="",
        uv_reason="gone",
        building=Building(builder_reason="none", builder_remedy="Install buildx."),
        gpu_uses=(GpuUse(L4.uuid, 9000, 90),),
    )
    mended = [check for check in examine(bad).checks if check.status in {"warning", "failed"}]
    assert len(mended) >= 10
    assert [check.name for check in mended if not check.remedy] == []


def test_without_an_engine_auto_takes_virtual_environments() -> None:
    assert found(NO_ENGINE, "engine") == Check(
        "engine",
        "warning",
        "No container engine answers (nothing listens there)",
        "Install Docker: `apt-get install docker.io`",
    )
    assert found(NO_ENGINE, "auto").status == "ok"
    assert examine(NO_ENGINE).runnable
    assert "base image" not in names(NO_ENGINE)


def test_without_an_engine_and_without_an_index_nothing_can_run() -> None:
    facts = replace(NO_ENGINE, index_reason="Connection refused")
    assert not examine(facts).runnable
    assert found(facts, "auto").status == "failed"
    assert found(facts, "package index").status == "failed"


def test_environments_that_are_installed_run_without_an_index() -> None:
    facts = replace(NO_ENGINE, index_reason="Connection refused", venvs=2)
    assert examine(facts).runnable
    assert found(facts, "package index").status == "warning"
    assert "the 2 environments that are installed" in found(facts, "package index").finding


def test_an_index_whose_certificate_is_unknown_has_a_remedy_of_its_own() -> None:
    facts = replace(NO_ENGINE, index_reason="invalid peer certificate: UnknownIssuer")
    assert "SSL_CERT_FILE" in found(facts, "package index").remedy


def test_an_engine_that_can_make_no_image_is_a_failure_of_auto() -> None:
    facts = replace(
        GOOD, building=Building(builder_reason="no buildx", builder_remedy="Install buildx.")
    )
    assert found(facts, "auto").status == "failed"
    assert "--executor venv" in found(facts, "auto").remedy
    assert found(facts, "image builder") == Check(
        "image builder", "failed", "no buildx", "Install buildx."
    )
    assert examine(facts).runnable


def test_images_that_are_built_run_without_a_builder() -> None:
    facts = replace(GOOD, building=Building(builder_reason="no buildx", images=3))
    assert found(facts, "auto").status == "ok"
    assert found(facts, "image builder").status == "warning"


@pytest.mark.parametrize(
    ("building", "status", "words"),
    [
        (Building(builder="docker"), "ok", "the first build pulls it"),
        (Building(builder="docker", registry_reason="timeout"), "info", "makes one from Debian's"),
        (
            Building(builder="docker", registry_reason="timeout", base_reason="needs root"),
            "failed",
            "no registry gives one (timeout), and none can be made (needs root)",
        ),
    ],
)
def test_where_a_base_image_will_come_from(building: Building, status: str, words: str) -> None:
    check = found(replace(GOOD, building=building), "base image")
    assert check.status == status
    assert words in check.finding


def test_a_rootless_engine_on_cgroup_v1_holds_no_limits() -> None:
    engine = replace(
        DOCKER, rootless=True, cgroup_version="1", unenforced=("memory", "pids", "cpuset")
    )
    facts = replace(GOOD, engine=engine)
    assert found(facts, "engine user").finding.startswith("rootless")
    check = found(facts, "limits")
    assert check.status == "warning"
    assert "cgroup v1: memory, pids, cpuset cannot be limited" in check.finding
    assert "Delegate=cpu cpuset memory pids" in check.remedy


def test_an_engine_elsewhere_cannot_mount_folders_of_this_machine() -> None:
    engine = replace(DOCKER, address="tcp://10.0.0.7:2376")
    facts = replace(GOOD, engine=engine, executor="venv", executor_reason="elsewhere")
    assert found(facts, "engine").status == "warning"
    assert "image builder" not in names(facts)


def test_a_gpu_with_driver_and_cdi() -> None:
    facts = with_gpu(GOOD, replace(DOCKER, cdi_devices=("nvidia.com/gpu=0", "nvidia.com/gpu=all")))
    assert found(facts, "GPU 0").finding == (
        "NVIDIA L4, 22 GiB, driver 580.82.07 (CUDA 13.0), GPU-11112222"
    )
    assert found(facts, "GPU in containers").status == "ok"
    assert found(facts, "GPU in containers").finding.startswith("by CDI: ")
    assert found(facts, "CDI").finding == "2 devices: nvidia.com/gpu=0, nvidia.com/gpu=all"


def test_a_gpu_with_driver_and_the_nvidia_runtime() -> None:
    check = found(with_gpu(GOOD, replace(DOCKER, runtimes=("nvidia", "runc"))), "GPU in containers")
    assert check.status == "ok"
    assert check.finding.startswith("by the NVIDIA runtime's device request")


def test_a_gpu_with_driver_but_no_toolkit_cannot_come_into_a_container() -> None:
    check = found(with_gpu(GOOD, DOCKER), "GPU in containers")
    assert check.status == "failed"
    assert "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml" in check.remedy


def test_podman_drops_gpu_requests() -> None:
    check = found(with_gpu(GOOD, PODMAN), "GPU in containers")
    assert (check.status, "drops GPU requests" in check.finding) == ("failed", True)
    assert "Docker" in check.remedy


def test_a_gpu_without_an_engine_needs_no_way_into_containers() -> None:
    facts = with_gpu(NO_ENGINE, None)
    assert found(facts, "GPU 0").status == "ok"
    assert "GPU in containers" not in names(facts)


def test_a_gpu_without_a_driver_is_a_failure() -> None:
    survey = GpuSurvey(
        hardware=("PCI 0000:00:1e.0",), reason="no driver", remedy="Install the NVIDIA driver."
    )
    assert found(replace(GOOD, gpus=survey), "GPU") == Check(
        "GPU",
        "failed",
        "1 NVIDIA GPU here (PCI 0000:00:1e.0): no driver",
        "Install the NVIDIA driver.",
    )


def test_no_gpu_is_no_fault() -> None:
    assert found(GOOD, "GPU") == Check(
        "GPU", "info", "this machine has no NVIDIA GPU; cells run on the CPU"
    )


def test_a_gpu_at_which_somebody_works_is_warned_of() -> None:
    facts = replace(
        with_gpu(GOOD, DOCKER), gpu_uses=(GpuUse(L4.uuid, 9000, 80), GpuUse("GPU-other", 9000, 80))
    )
    assert found(facts, "GPU 0 use").finding.startswith("9000 MiB taken, 80 % busy")
    quiet = replace(facts, gpu_uses=(GpuUse(L4.uuid, 4, None),))
    assert "GPU 0 use" not in names(quiet)


@pytest.mark.parametrize(
    ("processor", "limits", "words"),
    [
        (Processor(logical=8, usable=4), GroupLimits(cpus=1.5), "the time of 1.5"),
        (Processor(logical=8, usable=1), GroupLimits(), "runs on the core that is being timed"),
    ],
)
def test_cores_that_are_not_enough(processor: Processor, limits: GroupLimits, words: str) -> None:
    check = found(replace(GOOD, processor=processor, limits=limits), "cores")
    assert check.status == "warning"
    assert words in check.finding


def test_a_quota_of_all_cores_is_none() -> None:
    assert found(replace(GOOD, limits=GroupLimits(cpus=8.0)), "cores").status == "ok"


def test_governor_turbo_and_smt() -> None:
    fast = replace(GOOD, processor=Processor(8, 8, "powersave", turbo=True, smt=True))
    assert found(fast, "governor").remedy == "`sudo cpupower frequency-set -g performance`"
    assert (found(fast, "turbo").status, found(fast, "SMT").status) == ("info", "info")
    hidden = replace(GOOD, processor=Processor(2, 2, virtual=True))
    assert found(hidden, "governor").finding == "not shown by this virtual machine"


def test_memory_that_a_control_group_takes_away_is_counted() -> None:
    check = found(replace(GOOD, limits=GroupLimits(memory_mib=4096)), "memory")
    assert check.status == "warning"
    assert "this control group may use 4.0 GiB; a cell may take up to 8.0 GiB" in check.finding


@pytest.mark.parametrize(
    ("free", "writable", "status"),
    [
        (80 << 30, True, "ok"),
        (5 << 30, True, "warning"),
        (1 << 20, True, "failed"),
        (80 << 30, False, "failed"),
    ],
)
def test_a_disk_that_is_full_or_closed(free: int, writable: bool, status: str) -> None:
    disk = Disk("cache", "/home/me/.cache/harness", free, writable)
    check = found(replace(GOOD, disks=(disk,)), "disk: cache")
    assert check.status == status
    assert ("HARNESS_CACHE" in check.remedy) is (status != "ok")


def test_another_default_than_auto_is_said() -> None:
    assert "default" not in names(GOOD)
    assert found(replace(GOOD, default_executor="venv"), "default").finding == (
        "HARNESS_EXECUTOR=venv is what a sweep takes without --executor"
    )


def test_the_document_has_checks_choice_and_machine() -> None:
    facts = with_gpu(GOOD, DOCKER)
    document = examine(facts).document(facts, {"kernel": "6.1"})
    assert document["auto"] == {"executor": "docker", "reason": "Docker 28.2.2 answers"}
    assert document["machine"]["kernel"] == "6.1"
    assert document["machine"]["gpus"][0]["uuid"] == "GPU-11112222"
    assert set(document["checks"][0]) == {"name", "status", "finding", "remedy"}
