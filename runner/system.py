"""The processor and the system below Python: read from files, nothing is run."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
from typing import Any, Dict

_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_DPKG_STATUS = "/var/lib/dpkg/status"


def cpu(path: str = "/proc/cpuinfo") -> Dict[str, Any]:
    """The processor's model, its feature flags and their hash, and the machine's logical cores."""
    model, flags = platform.processor() or platform.machine(), ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    model = value.strip()
                elif key.strip() in ("flags", "Features"):
                    flags = " ".join(sorted(value.split()))
                if not line.strip():
                    break
    except OSError:
        pass
    return {
        "model": model or "unknown",
        "flags": flags.split(),
        "flags_sha256": hashlib.sha256(flags.encode()).hexdigest(),
        "cores": os.cpu_count() or 1,
    }


def libc() -> str:
    """The C library, such as `glibc 2.36`: the mathematics of much that runs comes from it."""
    return " ".join(part for part in platform.libc_ver() if part)


def distribution() -> Dict[str, str]:
    """`id`, `version` and `name` of the Linux distribution; empty where no file says."""
    path = next((one for one in _OS_RELEASE if os.path.isfile(one)), None)
    if path is None:
        return {}
    with open(path, encoding="utf-8", errors="replace") as file:
        return parse_os_release(file.read())


def parse_os_release(text: str) -> Dict[str, str]:
    """What an `os-release` file says of these three."""
    names = {"ID": "id", "VERSION_ID": "version", "PRETTY_NAME": "name"}
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key in names:
            try:
                found[names[key]] = " ".join(shlex.split(value))
            except ValueError:
                found[names[key]] = value
    return found


def system_packages(path: str = _DPKG_STATUS) -> Dict[str, str]:
    """Version of each package that Debian's dpkg installed; empty where it did not."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse_dpkg_status(file.read())
    except OSError:
        return {}


def parse_dpkg_status(text: str) -> Dict[str, str]:
    """Name to version of what is installed, sorted; a second architecture is in the name."""
    found = {}
    for paragraph in text.split("\n\n"):
        fields = {}
        for line in paragraph.splitlines():
            key, colon, value = line.partition(":")
            # A line that begins with a space goes on with a long description.
            if colon and not line.startswith((" ", "\t")):
                fields[key] = value.strip()
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            name = fields["Package"]
            if name in found:
                name = f"{name}:{fields.get('Architecture', '')}"
            found[name] = fields.get("Version", "")
    return dict(sorted(found.items()))
