"""A `probe` job: what this environment and machine are, and which backends work."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from importlib import metadata
from typing import Any, Dict

from runner import backends
from runner.events import Events
from runner.jobs import ProbeJob


def probe(job: ProbeJob, events: Events) -> None:
    """Emit the event `probe`."""
    events.emit(
        "probe",
        python=platform.python_version(),
        platform=platform.platform(),
        packages=packages(),
        backends={name: backends.probe(name).as_document() for name in job.backends},
        cpu=cpu(),
    )


def packages() -> Dict[str, str]:
    """Every installed distribution by its normalised name, with its version."""
    found = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found[re.sub(r"[-_.]+", "-", name).lower()] = distribution.version
    return dict(sorted(found.items()))


def cpu() -> Dict[str, Any]:
    """The processor's model, a hash of its feature flags, and the machine's logical cores."""
    model, flags = platform.processor() or platform.machine(), ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
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
        "flags_sha256": hashlib.sha256(flags.encode()).hexdigest(),
        "cores": os.cpu_count() or 1,
    }
