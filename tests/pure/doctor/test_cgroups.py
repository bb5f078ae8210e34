"""Limits of control groups, both versions."""

from __future__ import annotations

from pathlib import Path

from harness.doctor.cgroups import GroupLimits, group_limits


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_version_2_takes_the_tightest_of_the_groups_above(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/batch/job",
            "sys/fs/cgroup/batch/job/cpu.max": "max 100000",
            "sys/fs/cgroup/batch/job/memory.max": "4294967296",
            "sys/fs/cgroup/batch/cpu.max": "150000 100000",
            "sys/fs/cgroup/batch/memory.max": "8589934592",
        },
    )
    assert group_limits(tmp_path) == GroupLimits(cpus=1.5, memory_mib=4096)


def test_version_1_inside_a_container_that_sees_only_its_own_group(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu:/docker/abc",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824",
        },
    )
    assert group_limits(tmp_path) == GroupLimits(cpus=2.0, memory_mib=1024)


def test_no_limit_is_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/\n0::/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert group_limits(tmp_path) == GroupLimits()


def test_a_machine_without_control_groups_has_none(tmp_path: Path) -> None:
    assert group_limits(tmp_path) == GroupLimits()
