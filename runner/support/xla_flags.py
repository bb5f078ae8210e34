"""XLA's flags as settings of a cell: each known to the library, none that something else decides.

XLA reads them from the variable `XLA_FLAGS` when it starts. One that it does not know ends the
process, and names of passes that it does not know are ignored in silence, so both are looked up in
the library's file first. This module imports no library.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from runner.backends.base import unsupported
from runner.refusals import unknown_name
from runner.support import xla_ceiling, xla_passes
from runner.support.xla_passes import DISABLE

_ONLY = "xla_enable_hlo_passes_only"
_OTHERWISE: Mapping[str, str] = {
    DISABLE: "give the setting disabled_passes",
    _ONLY: "give the setting passes",
    "xla_cpu_max_isa": "give the axis instruction_set",
    "xla_cpu_multi_thread_eigen": "give the axis threads",
    "xla_force_host_platform_device_count": "a cell has one device",
}
_DUMPS = "xla_dump_"


def of_settings(backend: str, package: str, settings: Mapping[str, Any]) -> Tuple[str, ...]:
    """The flags that a cell's settings stand for, each as `--name=value`.

    Args:
        backend: who asks, for messages.
        package: whose XLA it is: `jaxlib` or `tensorflow`.
        settings: `disabled_passes`, `passes` and `flags` are read.

    Raises:
        RunnerError: kind `unsupported`: a pass or flag that this XLA lacks, or a flag that another
            setting decides.
    """

    def held(names: Tuple[str, ...]) -> Tuple[str, ...]:
        return xla_ceiling.held(package, names)

    made: List[str] = []
    without = xla_passes.disabled(backend, settings, held)
    if without:
        made.append(f"--{DISABLE}={','.join(without)}")
    flags = settings.get("flags") or {}
    there = set(held(tuple(flags)))
    for name, value in flags.items():
        _check(backend, name, value, known=name in there)
        made.append(f"--{name}={_text(value)}")
    return tuple(made)


def check_given(backend: str, package: str, flags: str) -> None:
    """Refuse names of passes in `XLA_FLAGS` that this XLA would ignore.

    Args:
        backend: who asks, for messages.
        package: whose XLA it is.
        flags: the variable's value, which somebody set.

    Raises:
        RunnerError: kind `unsupported`.
    """
    told = parsed(flags)
    for flag in (DISABLE, _ONLY):
        names = tuple(name for name in told.get(flag, "").split(",") if name)
        there = set(xla_ceiling.held(package, names))
        for name in names:
            if name not in there:
                raise unknown_name(
                    backend, f"XLA_FLAGS --{flag}", name, xla_passes.OPTIONAL
                )


def joined(given: str, added: Sequence[str]) -> str:
    """The variable's value with more flags; a later one counts where a flag is there twice."""
    return " ".join([*given.split(), *added])


def parsed(flags: str) -> Dict[str, str]:
    """Flags by name, without the dashes; one without a value is `true`."""
    found = {}
    for flag in flags.split():
        name, equals, value = flag.lstrip("-").partition("=")
        found[name] = value if equals else "true"
    return found


def beyond_passes() -> List[str]:
    """The flags of this process that may change code without changing XLA's program, as text.

    For a fingerprint: what a disabled pass did is seen in the program itself.
    """
    told = parsed(os.environ.get("XLA_FLAGS", ""))
    return sorted(
        f"{name}={value}"
        for name, value in told.items()
        if name not in (DISABLE, _ONLY) and not name.startswith(_DUMPS)
    )


def _check(backend: str, name: str, value: Any, *, known: bool) -> None:
    if name in _OTHERWISE or name.startswith(_DUMPS):
        why = _OTHERWISE.get(name, "use --keep-ir")
        raise unsupported(backend, "flag", name, ("those that nothing else decides",), why)
    if not name.startswith("xla_") or not known:
        why = "write it without dashes, as in xla_cpu_enable_fast_math"
        raise unsupported(backend, "flag", name, ("those of this XLA",), why)
    if any(character.isspace() for character in _text(value)):
        raise unsupported(backend, f"value of {name}", value, ("one without spaces",))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
