"""The rules that every container runs under, as arguments for the engine: pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.types import LogConfig, Ulimit
from docker.types import Mount as EngineMount

from harness.containers.engine import EngineInfo
from harness.containers.gpu import gpu_arguments
from harness.containers.limits import Limits

NOBODY = 65532
"""Who a container is when the caller is root: a number that no account has."""
WORK = "/work"
"""The one folder that a container may write to and that comes back."""
TEMPORARY = "/tmp"  # noqa: S108 - inside a container
HOME = "/tmp/home"  # noqa: S108 - inside a container
VOLUME = "harness-image-"
"""How the names of the volumes begin that an image declared; they go with their container."""
_MIB = 1 << 20
_FILE_SLACK_BYTES = 64 * _MIB

_ENVIRONMENT = {
    "HOME": HOME,
    "TMPDIR": TEMPORARY,
    "XDG_CACHE_HOME": f"{HOME}/.cache",
    "XDG_CONFIG_HOME": f"{HOME}/.config",
    "TORCHINDUCTOR_CACHE_DIR": f"{HOME}/.cache/inductor",
    "TRITON_CACHE_DIR": f"{HOME}/.cache/triton",
    "CUDA_CACHE_PATH": f"{HOME}/.cache/cuda",
    "NUMBA_CACHE_DIR": f"{HOME}/.cache/numba",
    # ONNX Runtime from 1.29 on starts a thread for telemetry where it is imported.
    "ORT_DISABLE_TELEMETRY": "1",
    "MPLCONFIGDIR": f"{HOME}/.config/matplotlib",
    "LANG": "C.UTF-8",
    "PYTHONNOUSERSITE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Mount:
    """Something a container sees.

    Attributes:
        source: a path on the host, or the name of a volume.
        target: where the container finds it.
        read_only: whether the container may only read it.
        volume: whether the source is a volume's name.
    """

    source: str
    target: str
    read_only: bool = True
    volume: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """One container to run.

    Attributes:
        image: an image's id, digest or tag.
        command: program and arguments; the image's own entry point is not used.
        name: what it is for, such as `onnxruntime-1.31`; for messages.
        mounts: what it sees beside its image.
        output: a folder of the host, mounted at `/work`, which is its working directory.
        env: variables beside the usual ones.
        labels: labels that say whose it is; see `strays.py`.
        limits: what it may use.
        cores: the only cores that it may run on; None: all.
        gpu: UUID or index of the one GPU that it sees; None: none.
        stdin: whether its standard input is held open as a lifeline.
        network: whether it has a network; never for what runs a model.
    """

    image: str
    command: tuple[str, ...]
    name: str
    mounts: tuple[Mount, ...] = ()
    output: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    cores: tuple[int, ...] | None = None
    gpu: str | None = None
    stdin: bool = False
    network: bool = False


def user_for(info: EngineInfo, uid: int | None = None, gid: int | None = None) -> str:
    """Who a container runs as, `uid:gid`: the caller, or nobody in particular where that is root.

    Inside user namespaces the numbers mean somebody else on the host; still they are never root.
    """
    uid = os.getuid() if uid is None else uid
    gid = os.getgid() if gid is None else gid
    if uid == 0:
        return f"{NOBODY}:{NOBODY}"
    if info.rootless or info.user_namespaces:
        return f"{uid}:{uid}"
    return f"{uid}:{gid}"


def give_folder(folder: Path, info: EngineInfo, user: str) -> None:
    """Let a container's user write into a folder of the host.

    Where the engine maps users, nobody here knows the number that it will write as, so the
    folder is opened for all; what lies above it still decides who can reach it.
    """
    uid, gid = (int(number) for number in user.split(":"))
    if info.rootless or info.user_namespaces:
        folder.chmod(0o777)
    elif uid != os.getuid():
        os.chown(folder, uid, gid)
        folder.chmod(0o755)
    else:
        folder.chmod(0o755)


def create_arguments(
    spec: ContainerSpec,
    info: EngineInfo,
    user: str,
    image: Mapping[str, Any] | None = None,
    token: str = "",
) -> dict[str, Any]:
    """The arguments for the SDK's `containers.create` that put the container rules into effect.

    Args:
        spec: the container.
        info: the engine; it decides how a GPU is asked for.
        user: `uid:gid`, from `user_for`.
        image: the image's own configuration, as the engine says it. For each path that it
            declares as a volume the engine would make a writable place on the disk that nothing
            bounds, so these become volumes that are read only; its PYTHONPATH is kept behind
            ours.
        token: makes the names of those volumes this container's own.

    Raises:
        EngineError: a GPU is asked for and this engine cannot give one.
    """
    image = image or {}
    limits = spec.limits
    memory = limits.memory_mib * _MIB
    file_bytes = limits.output_bytes + _FILE_SLACK_BYTES
    tmpfs = f"rw,exec,nosuid,nodev,size={limits.tmp_mib}m,mode=1777"
    arguments: dict[str, Any] = {
        "image": spec.image,
        "entrypoint": list(spec.command[:1]),
        "command": list(spec.command[1:]),
        "hostname": "harness",
        "user": user,
        "working_dir": WORK if spec.output is not None else TEMPORARY,
        "environment": _environment(spec.env, image.get("Env") or ()),
        "labels": {"io.harness.name": spec.name, **spec.labels},
        "mounts": _mounts(spec, tuple(image.get("Volumes") or ()), token),
        "tmpfs": {TEMPORARY: tmpfs, HOME: tmpfs},
        "shm_size": limits.shm_mib * _MIB,
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": limits.pids,
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="fsize", soft=file_bytes, hard=file_bytes),
        ],
        "network_mode": "bridge" if spec.network else "none",
        "ipc_mode": "private",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges", *(["label=disable"] if info.selinux else [])],
        "init": True,
        "stdin_open": spec.stdin,
        # The streams are attached; the engine's own copy of them would grow on the disk.
        "log_config": LogConfig(type=LogConfig.types.NONE),
        # A check of the image's own would run beside a cell that is being timed.
        "healthcheck": {"test": ["NONE"]},
        # The person's proxies, often with a password, are no business of a container.
        "use_config_proxy": False,
    }
    if spec.cores is not None:
        arguments["cpuset_cpus"] = ",".join(str(core) for core in spec.cores)
    if spec.gpu is not None:
        gpu = gpu_arguments(info, spec.gpu)
        arguments["environment"].update(gpu.pop("environment", {}))
        arguments.update(gpu)
    return arguments


def _environment(wanted: Mapping[str, str], of_image: Sequence[str]) -> dict[str, str]:
    # `void`: no runtime may add the GPUs that an image's own variables ask for.
    environment = {**_ENVIRONMENT, "NVIDIA_VISIBLE_DEVICES": "void", **wanted}
    theirs = dict(entry.split("=", 1) for entry in of_image if "=" in entry).get("PYTHONPATH")
    ours = wanted.get("PYTHONPATH")
    if ours and theirs and ours != theirs:
        environment["PYTHONPATH"] = f"{ours}:{theirs}"
    return environment


def _mounts(spec: ContainerSpec, image_volumes: Sequence[str], token: str) -> list[EngineMount]:
    mounts = [
        EngineMount(
            target=mount.target,
            source=mount.source,
            type="volume" if mount.volume else "bind",
            read_only=mount.read_only,
            no_copy=mount.volume,
        )
        for mount in spec.mounts
    ]
    if spec.output is not None:
        mounts.append(EngineMount(target=WORK, source=str(spec.output), type="bind"))
    taken = {str(mount["Target"]) for mount in mounts} | {TEMPORARY, HOME}
    left = sorted({path.rstrip("/") or "/" for path in image_volumes} - taken)
    # The engine refuses to make a volume without a name read only.
    mounts += [
        EngineMount(target=path, source=f"{VOLUME}{token}-{n}", type="volume", read_only=True)
        for n, path in enumerate(left)
    ]
    return mounts
