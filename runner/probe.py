"""A `probe` job: what this environment and machine are, and what works in it."""

from __future__ import annotations

import platform
from contextlib import suppress
from typing import Any, Dict, List, Sequence

from runner import backends, builds, converters, gpus, preprocessors, system
from runner.backends.base import BackendProbe
from runner.events import Events
from runner.jobs import ProbeJob
from runner.packages import packages


def probe(job: ProbeJob, events: Events) -> None:
    """Emit the event `probe`.

    A job that names no backends or preprocessors (null) asks for all that the runner knows; what is
    absent is said to be, and fails nothing.
    """
    everything = job.backends is None
    names = backends.names() if job.backends is None else job.backends
    probed = {name: backends.probe(name) for name in names}
    versions, contents = packages()
    seen = gpus.seen()
    events.emit(
        "probe",
        python=platform.python_version(),
        platform=platform.platform(),
        machine=platform.machine(),
        libc=system.libc(),
        packages=versions,
        contents=contents,
        backends={name: found.as_document() for name, found in probed.items()},
        converters={
            name: converters.probe(name) for name in (converters.names() if everything else ())
        },
        preprocessors={name: preprocessors.probe(name) for name in _preprocessors(job)},
        corruptions=_corruptions(job),
        builds=_builds(probed, everything=everything),
        cpu=dict(system.cpu(), used=_used(probed)),
        gpus=[gpu.as_document() for gpu in seen.gpus],
        gpu_driver={"driver": seen.driver, "cuda": seen.cuda, "detail": seen.detail},
        distribution=system.distribution(),
        system_packages=system.system_packages(),
    )


def _preprocessors(job: ProbeJob) -> Sequence[str]:
    return preprocessors.names() if job.preprocessors is None else job.preprocessors


def _corruptions(job: ProbeJob) -> Dict[str, Any]:
    """The libraries for corruptions, where the job asks for all that the runner knows."""
    if job.preprocessors is not None:
        return {}
    try:
        from runner.support import corruptions
    except ImportError as error:
        # An interpreter without NumPy is asked too, and is to say so.
        nothing = {"ok": False, "version": "", "detail": str(error), "offer": None}
        return {"imagecorruptions": nothing}
    return {corruptions.LIBRARY: corruptions.probe()}


def _builds(probed: Dict[str, BackendProbe], *, everything: bool) -> Dict[str, Dict[str, str]]:
    """What each library says of its build, by the library's name."""
    found: Dict[str, Dict[str, str]] = {"python": builds.python()}
    with suppress(ImportError):
        found["numpy"] = builds.numpy()
    for library, parts in builds.others(everything=everything).items():
        found[library] = dict(parts)
    for one in probed.values():
        for library, parts in one.builds.items():
            found[library] = dict(found.get(library, {}), **parts)
    return found


def _used(probed: Dict[str, BackendProbe]) -> Dict[str, List[str]]:
    """The processor features that libraries say they use on this machine."""
    found: Dict[str, List[str]] = {}
    with suppress(ImportError):
        found["numpy"] = builds.numpy_uses()
    for one in probed.values():
        for library, features in one.cpu_used.items():
            found[library] = list(features)
    return found
