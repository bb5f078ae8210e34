"""Compose files from the environment folders: the same images under the same rules, by hand.

What a service may do is read off `containers.rules.create_arguments`, the one place of the rules;
here it only gets Compose's words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from harness.containers.engine import EngineInfo
from harness.containers.rules import NOBODY, ContainerSpec, Mount, create_arguments
from harness.environments.folders import EnvironmentFolder

CPU_FILE = "cpu.yaml"
GPU_FILE = "gpu.yaml"
_GPU = "${HARNESS_GPU:-0}"
_USER = f"${{HARNESS_USER:-{NOBODY}:{NOBODY}}}"
# Any engine with the NVIDIA runtime: Compose asks for GPUs as its device request does.
_ENGINE = EngineInfo(kind="docker", version="", api_version="", address="", runtimes=("nvidia",))
# The runner ends when its standard input, a pipe, is closed: that is how a sweep holds its cells.
# Compose opens such a pipe and closes it at once where nobody types (cron, CI).
_RUN = 'exec /opt/env/bin/python -m runner "$$@" </dev/null'
_VOLUMES = ("data", "models", "jobs", "results")
_MOUNTS = (
    Mount("${HARNESS_DATA:-data}", "/data"),
    Mount("${HARNESS_MODELS:-models}", "/models"),
    Mount("${HARNESS_JOBS:-jobs}", "/jobs"),
    Mount("${HARNESS_RESULTS:-results}", "/results", read_only=False),
)
_RUNNER = Mount("${HARNESS_RUNNER:-../runner}", "/opt/harness/runner")

_HEAD = """\
# Made from images/ by `harness env compose`; edit the folders there, not this file.
# How to use it, and the variables HARNESS_*: compose/README.md.
"""


def compose_documents(folders: Sequence[EnvironmentFolder]) -> dict[str, str]:
    """The Compose files, name to text: CPU environments in one, CUDA environments in the other.

    Each also has the service `harness`, which sweeps inside a container of its own.

    Args:
        folders: environment folders; those for other accelerators have no service.
    """
    return {
        CPU_FILE: _document([f for f in folders if f.file.accelerator == "cpu"], gpu=None),
        GPU_FILE: _document([f for f in folders if f.file.accelerator == "cuda"], gpu=_GPU),
    }


def _document(folders: Sequence[EnvironmentFolder], gpu: str | None) -> str:
    """A file whose services share one description of a cell by YAML's own means (an anchor)."""
    parts = [_HEAD, "name: harness\n"]
    if folders:
        parts.append("x-cell: &cell\n" + _indented(_cell(gpu)))
    services = ["services:\n"]
    for folder in sorted(folders, key=lambda one: one.name):
        own = {
            "image": f"harness/{folder.name}:latest",
            "labels": {"io.harness.name": folder.name},
        }
        services.append(f"  {folder.name}:\n    <<: *cell\n{textwrap.indent(_dump(own), ' ' * 4)}")
    services.append("  harness:\n" + textwrap.indent(_dump(_harness(gpu)), " " * 4))
    parts.append("\n".join(services))
    volumes = {
        name: {"name": f"${{HARNESS_{name.upper()}_VOLUME:-harness-{name}}}"}
        for name in (*_VOLUMES, "cache")
    }
    parts.append("volumes:\n" + _indented(volumes))
    secrets = {
        "ca_bundle": {"file": "${HARNESS_CA_BUNDLE:-/dev/null}"},
        "pip_conf": {"file": "${HARNESS_PIP_CONF:-/dev/null}"},
    }
    parts.append("secrets:\n" + _indented(secrets))
    return "\n".join(parts)


def _cell(gpu: str | None) -> dict[str, Any]:
    """What every environment's service has in common."""
    spec = ContainerSpec(
        image="",
        command=("/bin/sh", "-c", _RUN, "runner"),
        name="",
        mounts=(*_MOUNTS, _RUNNER),
        env={"PYTHONPATH": "/opt/harness"},
        gpu=gpu if gpu is None else "0",
    )
    rules = create_arguments(spec, _ENGINE, _USER)
    environment = dict(rules["environment"])
    if gpu is not None:
        environment["NVIDIA_VISIBLE_DEVICES"] = gpu
    return {
        "pull_policy": "never",
        "entrypoint": [*rules["entrypoint"], *rules["command"]],
        "working_dir": "/results",
        **_rules(rules, spec.mounts),
        "environment": environment,
        **({"deploy": _devices({"device_ids": [gpu]})} if gpu is not None else {}),
    }


def _rules(rules: Mapping[str, Any], mounts: Sequence[Mount]) -> dict[str, Any]:
    """The container rules in Compose's words."""
    return {
        "user": rules["user"],
        "network_mode": rules["network_mode"],
        "ipc": rules["ipc_mode"],
        "hostname": rules["hostname"],
        "read_only": rules["read_only"],
        "cap_drop": list(rules["cap_drop"]),
        "security_opt": [f"{option}:true" for option in rules["security_opt"]],
        "init": rules["init"],
        "mem_limit": rules["mem_limit"],
        "memswap_limit": rules["memswap_limit"],
        "pids_limit": rules["pids_limit"],
        "shm_size": rules["shm_size"],
        "ulimits": {
            limit["Name"]: {"soft": limit["Soft"], "hard": limit["Hard"]}
            for limit in rules["ulimits"]
        },
        "cpuset": "${HARNESS_CPUSET:-}",
        "tmpfs": [f"{target}:{options}" for target, options in rules["tmpfs"].items()],
        "logging": {"driver": rules["log_config"]["Type"]},
        "healthcheck": {"disable": True},
        "volumes": [_short(mount) for mount in mounts],
    }


def _harness(gpu: str | None) -> dict[str, Any]:
    """The service that sweeps: the orchestrator, with virtual environments in its own container.

    It has a network, for it installs the environments; the rest are the rules of a cell, with the
    memory of the machine, for it decodes the images and holds several loaded models.
    """
    spec = ContainerSpec(image="", command=("harness",), name="harness")
    mounts = [mount for mount in _MOUNTS if mount.target != "/jobs"]
    rules = _rules(create_arguments(spec, _ENGINE, _USER), mounts)
    for limit in ("network_mode", "hostname", "mem_limit", "memswap_limit", "ulimits", "logging"):
        del rules[limit]
    rules["pids_limit"] = 4096
    rules["volumes"] = [*rules["volumes"], "${HARNESS_CACHE:-cache}:/cache"]
    return {
        "image": "harness/harness:latest",
        "build": {
            "context": "..",
            "dockerfile": "compose/Dockerfile",
            "args": {"BASE": "${HARNESS_BASE:-python:3.11-slim-bookworm}"},
            "secrets": ["ca_bundle", "pip_conf"],
        },
        "pull_policy": "never",
        "secrets": ["ca_bundle", "pip_conf"],
        "working_dir": "/results",
        **rules,
        "environment": {
            "HARNESS_CACHE": "/cache",
            "HARNESS_HOME": "/cache/home",
            "HOME": "/tmp/home",  # noqa: S108 - inside a container
            "LANG": "C.UTF-8",
            "UV_CACHE_DIR": "/cache/uv",
        },
        **({"deploy": _devices({"count": "all"})} if gpu is not None else {}),
    }


def _devices(which: Mapping[str, Any]) -> dict[str, Any]:
    device = {"driver": "nvidia", **which, "capabilities": ["gpu", "compute", "utility"]}
    return {"resources": {"reservations": {"devices": [device]}}}


def _short(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}{':ro' if mount.read_only else ''}"


def _indented(value: Mapping[str, Any]) -> str:
    return textwrap.indent(_dump(value), "  ")


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, and nothing is folded or shared by an anchor."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _dump(value: Mapping[str, Any]) -> str:
    return yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, width=1000)
