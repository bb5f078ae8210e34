"""The view from inside a container: what a model's own code can see and do there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.containers import PYTHON, TIMEOUT_S, named
from support.deep import LEVELS

from harness.containers import running
from harness.containers.engine import Engine
from harness.containers.limits import Limits
from harness.containers.rules import VOLUME, ContainerSpec, Mount, create_arguments
from harness.containers.running import run_to_end
from harness.trees import remove_tree

LIMITS = Limits(memory_mib=512, tmp_mib=48, shm_mib=16, pids=48, output_bytes=64 << 20)

LOOK = r"""
import ctypes, errno, json, os, socket, subprocess, threading

def attempt(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def connect():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.0.2.1", 53))

def fill(folder):
    written = 0
    try:
        with open(folder + "/big", "wb", buffering=0) as file:
            while True:
                written += file.write(bytes(1 << 20))
    except OSError as error:
        return [errno.errorcode[error.errno], written >> 20]
    finally:
        if os.path.exists(folder + "/big"):
            os.unlink(folder + "/big")

def own_script(folder):
    path = folder + "/script"
    with open(path, "w") as file:
        file.write("#!/bin/sh\necho ran\n")
    os.chmod(path, 0o755)
    return subprocess.run([path], capture_output=True, text=True).stdout.strip()

def count_threads():
    threads, wait = [], threading.Event()
    try:
        while len(threads) < 5000:
            thread = threading.Thread(target=wait.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        pass
    wait.set()
    return len(threads)

status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
view = {
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "capabilities": {name: status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
    "no new privileges": status["NoNewPrivs"].strip(),
    "first process": open("/proc/1/comm").read().strip(),
    "interfaces": sorted(name for _, name in socket.if_nameindex() if not name.startswith(("tunl", "sit", "ip6tnl", "gre", "erspan", "ip_vti", "ip6_vti", "ip6gre"))),
    "connect": attempt(connect),
    "write": {path: attempt(lambda: open(path + "/x", "w")) for path in ("/", "/etc", "/usr/lib", "/var/tmp", "/run", "/dev", "/inputs", "/inputs/model", "/opt/harness")},
    "write an input": attempt(lambda: open("/inputs/model/m.json", "a")),
    "write the volume of the image": attempt(lambda: open("/data/x", "w")),
    "volume of the image": open("/data/kept").read(),
    "replace the log": attempt(lambda: os.rename("/work/kept.txt", "/work/log.txt")),
    "remove the log": attempt(lambda: os.unlink("/work/log.txt")),
    "inputs": sorted(os.path.join(at, name) for at, _, names in os.walk("/inputs") for name in names),
    "runs from /tmp": own_script("/tmp"),
    "home": [os.environ["HOME"], attempt(lambda: os.mkdir(os.environ["HOME"] + "/.cache"))],
    "fill": {place: fill(place) for place in ("/tmp", "/tmp/home", "/dev/shm")},
    "threads": count_threads(),
    "core dump": list(__import__("resource").getrlimit(__import__("resource").RLIMIT_CORE)),
    "cores": sorted(os.sched_getaffinity(0)),
    "environment": sorted(os.environ),
    "working directory": os.getcwd(),
    "host name": socket.gethostname(),
    "mounts": sorted({line.split()[4] for line in open("/proc/self/mountinfo")} ),
    "raise privileges": ctypes.CDLL(None).setuid(0),
}
print(json.dumps(view))
"""


@pytest.fixture(scope="module")
def image_with_a_volume(engine: Engine, image: str) -> Iterator[str]:
    """An image of somebody else's, that declares a volume, an entry point and a health check."""
    api = engine.client.api
    container = api.create_container(
        image,
        ["sh", "-c", "mkdir /data && echo mine >/data/kept"],
        host_config=api.create_host_config(network_mode="none"),
    )
    try:
        api.start(container)
        api.wait(container)
        changes = ["VOLUME /data", 'ENTRYPOINT ["false"]', "USER root", "ENV PYTHONPATH=/theirs"]
        made = api.commit(container, repository="harness-test/volume", changes=changes)
    finally:
        api.remove_container(container, v=True, force=True)
    yield str(made["Id"])
    api.remove_image(made["Id"], force=True)


def look(
    engine: Engine, image: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    volumes: list[str] = []

    def noted(*given: Any) -> dict[str, Any]:
        arguments = create_arguments(*given)
        sources = [str(mount["Source"]) for mount in arguments["mounts"]]
        volumes.extend(source for source in sources if source.startswith(VOLUME))
        return arguments

    monkeypatch.setattr(running, "create_arguments", noted)
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody:secret@proxy")
    model = tmp_path / "m.json"
    model.write_text("{}")
    model.chmod(0o666)
    (tmp_path / "beside.json").write_text("not an input")
    output = tmp_path / "out"
    output.mkdir()
    (output / "log.txt").touch()
    (output / "kept.txt").write_text("x")
    (output / "kept.txt").chmod(0o666)
    spec = ContainerSpec(
        image=image,
        command=(PYTHON, "-c", LOOK),
        name=name,
        mounts=(
            Mount(str(model), "/inputs/model/m.json"),
            Mount(str(output / "log.txt"), "/work/log.txt"),
        ),
        output=output,
        env={"PYTHONPATH": "/opt/harness"},
        limits=LIMITS,
        cores=(0,),
    )
    finished = run_to_end(engine, spec, TIMEOUT_S)
    assert finished.status == 0, finished.log
    assert named(engine, name) == []
    left = {one["Name"] for one in engine.client.api.volumes()["Volumes"] or []}
    assert len(volumes) == 1
    assert not left & set(volumes)
    return json.loads(finished.stdout)


def test_the_view_from_inside(
    engine: Engine,
    image_with_a_volume: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = look(engine, image_with_a_volume, name, tmp_path, monkeypatch)
    with capsys.disabled():
        print("\n" + json.dumps(view, indent=1), file=sys.stderr)
    assert 0 not in {view["user"][0], view["user"][1], *view["user"][2]}
    assert set(view["capabilities"].values()) == {"0000000000000000"}
    assert view["no new privileges"] == "1"
    assert view["raise privileges"] == -1
    assert view["first process"] in {"docker-init", "tini", "catatonit", "podman-init"}
    assert view["interfaces"] == ["lo"]
    assert view["connect"] == "ENETUNREACH"
    assert set(view["write"].values()) <= {"EROFS", "EACCES", "ENOENT"}
    assert view["write"]["/var/tmp"] == "EROFS"
    assert view["write an input"] == "EROFS"
    assert view["write the volume of the image"] in {"EROFS", "EACCES"}
    assert view["volume of the image"] == "mine\n"
    assert view["replace the log"] == view["remove the log"] == "EBUSY"
    assert view["inputs"] == ["/inputs/model/m.json"]
    assert view["runs from /tmp"] == "ran"
    assert view["home"] == ["/tmp/home", "done"]
    assert view["fill"]["/tmp"] == ["ENOSPC", 47]
    assert view["fill"]["/tmp/home"] == ["ENOSPC", 48]
    assert view["fill"]["/dev/shm"] == ["ENOSPC", 16]
    assert 0 < view["threads"] < LIMITS.pids
    assert view["core dump"] == [0, 0]
    assert view["cores"] == [0]
    assert not {name for name in view["environment"] if "PROXY" in name.upper()}
    assert view["working directory"] == "/work"
    assert view["host name"] == "harness"
    assert not {path for path in view["mounts"] if "docker.sock" in path}


SNEAKY = {
    "many files": "for n in range(40000): os.close(os.open(f'/work/{n}', os.O_CREAT))\n",
    "deleted files": (
        "for n in range(2):\n"
        "    f = os.open('/work/x', os.O_CREAT | os.O_RDWR)\n"
        "    os.unlink('/work/x')\n"
        "    for m in range(20): os.write(f, bytes(1 << 20))\n"
    ),
    "mapped files": (
        # Python's own `mmap` keeps the file open.
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.mmap.restype = ctypes.c_void_p\n"
        "libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 5]\n"
        "for n in range(2):\n"
        "    f = os.open('/work/x', os.O_CREAT | os.O_RDWR)\n"
        "    os.truncate(f, 20 << 20)\n"
        "    at = libc.mmap(None, 20 << 20, 3, 1, f, 0)\n"
        "    os.unlink('/work/x')\n"
        "    os.close(f)\n"
        "    ctypes.memset(at, 1, 20 << 20)\n"
    ),
    "folders nested beyond reach": (
        f"for n in range({LEVELS}): os.mkdir('nested-a'); os.chdir('nested-a')\n"
        "for n in range(200): open(str(n), 'wb').write(bytes(1 << 20))\n"
    ),
}


@pytest.mark.parametrize("way", SNEAKY)
def test_no_way_around_the_limit_of_the_folder(
    way: str, engine: Engine, image: str, tmp_path: Path
) -> None:
    code = "import os, time\n" + SNEAKY[way]
    output = tmp_path / "out"
    output.mkdir()
    spec = ContainerSpec(
        image,
        (PYTHON, "-c", code + "time.sleep(3600)"),
        "sneaks",
        output=output,
        limits=Limits(output_bytes=16 << 20),
    )
    try:
        finished = run_to_end(engine, spec, 60)
    finally:
        assert remove_tree(output) == ""
    assert finished.exceeded_bytes > 16 << 20
    assert not finished.timed_out
    assert finished.status == 137


def test_one_big_file_ends_at_the_limit_of_a_file_and_stops_the_container(
    engine: Engine, image: str, tmp_path: Path
) -> None:
    code = (
        "import time\n"
        "try:\n"
        "    with open('/work/big', 'wb', buffering=0) as file:\n"
        "        while True: file.write(bytes(1 << 20))\n"
        "except OSError: time.sleep(3600)\n"
    )
    output = tmp_path / "out"
    output.mkdir()
    spec = ContainerSpec(image, (PYTHON, "-c", code), "a big file", output=output, limits=LIMITS)
    finished = run_to_end(engine, spec, TIMEOUT_S)
    assert finished.exceeded_bytes > LIMITS.output_bytes
    assert (output / "big").stat().st_size <= LIMITS.output_bytes + (64 << 20)
    assert not finished.timed_out
