"""Makes a base image from Debian's packages, for where no image registry answers."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.canonical import storage_errors
from harness.containers.engine import Engine, engine_errors
from harness.environments.base_records import (
    LABEL,
    BaseRecord,
    content_digest,
    inspect_image,
    machine_of,
    record,
)
from harness.environments.environment import Base
from harness.errors import EnvironmentSpecError, ProvisionError
from harness.paths import cache_dir
from harness.progress import Progress, Task

SUITES = {"bookworm": ("3.11", "2.36"), "trixie": ("3.13", "2.41")}
"""Debian's releases, each with its Python `X.Y` and its C library."""
EPOCH = 1_700_000_000
"""The time that all is dated which was not dated by a package: two bases are then equal bytes."""
_PACKAGES = ("python3", "ca-certificates")
_MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")
_MAKE_SECONDS = 1800
_TAIL_LINES = 8
# Of no use in a container, or different each time.
_LEFT_OUT = (
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "usr/share/doc/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/man/",
    "var/cache/",
    "var/lib/apt/lists/",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/available-old",
    "var/log/",
    "dev/",
    "proc/",
    "run/",
    "sys/",
    "tmp/",
)


def why_not() -> str:
    """Why a base cannot be made on this machine; empty where it can."""
    if platform.system() != "Linux":
        return "that needs a Linux machine"
    if _tool() is None:
        return "neither mmdebstrap nor debootstrap is installed"
    if os.getuid() != 0:
        return "that needs root"
    return ""


def make_base(
    engine: Engine, progress: Progress, *, suite: str = "bookworm", mirror: str = ""
) -> Base:
    """Make a base from a Debian release, import it into the engine, and record it.

    Two that are made from the same packages have the same digest.

    Args:
        engine: where it goes.
        progress: where the steps are reported to.
        suite: one of `SUITES`.
        mirror: a Debian mirror; by default the tool's own.

    Raises:
        EnvironmentSpecError: an unknown suite, or a mirror with a password in its address.
        ProvisionError: it cannot be made here, or a package cannot be fetched.
        StoreError: no space is left.
    """
    if suite not in SUITES:
        raise EnvironmentSpecError(
            f"No base is known to be made from {suite!r}.", f"Choose one of {', '.join(SUITES)}."
        )
    if "@" in mirror.partition("//")[2].partition("/")[0]:
        raise EnvironmentSpecError(
            "The mirror's address holds a user or password, which would stay in the image.",
            "Name a mirror that needs none.",
        )
    tool = _tool()
    if (reason := why_not()) or tool is None:
        raise ProvisionError(
            f"No base image can be made here: {reason}.",
            "Install mmdebstrap and be root, or name an image with Python that is here: "
            "`harness env base --use IMAGE`. Without containers: --executor venv.",
        )
    place = cache_dir() / "bases"
    with storage_errors(place), progress.task(f"Making a base image from Debian {suite}") as task:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="making-", dir=place) as folder:
            tree, archive = Path(folder) / "root", Path(folder) / "base.tar"
            started = time.time()
            _run(_command(tool, suite, tree, mirror), suite, task)
            task.describe(f"Packing the base image from Debian {suite}")
            write_tar(tree, archive, started)
            task.describe(f"Importing the base image from Debian {suite}")
            return _import(engine, archive, suite)


def write_tar(tree: Path, archive: Path, started: float) -> None:
    """Pack a root folder so that equal packages give equal bytes.

    Entries are sorted; what is dated after `started` was made by the installation and gets one
    fixed date, while packages' files keep theirs, which compiled Python files refer to.
    """

    def dated(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uname = entry.gname = ""
        entry.mtime = int(entry.mtime) if entry.mtime < int(started) else EPOCH
        return entry

    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in _kept(tree, tree):
            tar.add(path, path.relative_to(tree), recursive=False, filter=dated)


def _kept(tree: Path, folder: Path) -> Iterator[Path]:
    """What goes into the image, sorted; of a folder left out, the empty folder does."""
    for path in sorted(folder.iterdir()):
        name = path.relative_to(tree).as_posix()
        mode = path.lstat().st_mode
        if name in _LEFT_OUT or not (
            stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
        ):
            continue
        yield path
        if stat.S_ISDIR(mode) and f"{name}/" not in _LEFT_OUT:
            yield from _kept(tree, path)


def _tool() -> Path | None:
    # Root's programs are not on everybody's PATH.
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which("mmdebstrap", path=places) or shutil.which("debootstrap", path=places)
    return Path(found) if found else None


def _command(tool: Path, suite: str, tree: Path, mirror: str) -> list[str]:
    packages = [*_PACKAGES]
    if tool.name == "debootstrap":
        return [
            str(tool), "--variant=minbase", f"--include={','.join(packages)}", suite, str(tree),
            *([mirror] if mirror else []),
        ]  # fmt: skip
    hooks = []
    if _MERGED_USR.is_dir():
        # Without it, the package that merges /usr brings 50 MB of Perl along.
        packages.append("usr-is-merged")
        hooks = [f"--hook-dir={_MERGED_USR}"]
    return [
        str(tool), "--quiet", "--variant=minbase", "--format=directory", *hooks,
        f"--include={','.join(packages)}", suite, str(tree), *([mirror] if mirror else []),
    ]  # fmt: skip


def _run(command: list[str], suite: str, task: Task) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**environment, "LC_ALL": "C.UTF-8"},
            timeout=_MAKE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProvisionError(
            f"Making a base image from Debian {suite} took more than {_MAKE_SECONDS} s.",
            "Name a nearer mirror: `harness env base --mirror URL`.",
        ) from error
    if done.returncode != 0:
        said = "\n".join(done.stdout.strip().splitlines()[-_TAIL_LINES:])
        raise ProvisionError(
            f"Making a base image from Debian {suite} failed (exit status {done.returncode}):\n"
            f"{said}",
            "Where Debian's mirror cannot be reached, name another: "
            "`harness env base --mirror URL`.",
        )
    task.describe(f"Installed Debian {suite}")


def _import(engine: Engine, archive: Path, suite: str) -> Base:
    python, glibc = SUITES[suite]
    known = {
        "reference": f"local:{suite}",
        "python": python,
        "source": "local",
        "glibc": glibc,
        "machine": machine_of(engine),
    }
    label = json.dumps(json.dumps(known, sort_keys=True, separators=(",", ":")))
    with engine_errors("Importing the base image"):
        answer = engine.client.api.import_image_from_file(
            str(archive),
            changes=[
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "ENV LANG=C.UTF-8",
                'CMD ["python3"]',
                f"LABEL {LABEL}={label}",
            ],
        )
    # Podman takes no name for an imported image; both say its id in the end.
    identity = re.findall(r"sha256:[0-9a-f]{64}", str(answer))
    image = inspect_image(engine, identity[-1]) if identity else None
    if image is None:
        raise ProvisionError(
            f"The engine did not take the base image: {' '.join(str(answer).split())[-400:]}.",
            "See whether its disk is full: `docker system df`.",
        )
    digest = content_digest(image)
    made = Base(
        reference=f"local:{suite}",
        digest=digest,
        python=python,
        source="local",
        glibc=glibc,
        machine=machine_of(engine),
    )
    keep(engine, str(image["Id"]), made)
    record(BaseRecord(made, digest))
    return made


def keep(engine: Engine, image: str, base: Base) -> None:
    """Give a base's image the tag that it is built from."""
    repository, _, tag = base.tag.partition(":")
    with engine_errors(f"Tagging the base image {base.reference}"):
        engine.client.api.tag(image, repository, tag)
