"""What the variable `XLA_FLAGS` says, which XLA reads when it starts; this module imports no library.

A sweep may set the variable by itself. XLA ignores the name of a pass that it does not know, so such
names are looked up here too.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping

from runner.refusals import unknown_name
from runner.support import xla_library, xla_passes

VARIABLE = "XLA_FLAGS"
_OF_PASSES = ("xla_disable_hlo_passes", "xla_enable_hlo_passes_only")


def parsed(flags: str) -> Dict[str, str]:
    """Flags by name, without the dashes; one without a value is `true`."""
    found = {}
    for flag in flags.split():
        name, equals, value = flag.lstrip("-").partition("=")
        found[name] = value if equals else "true"
    return found


def check_passes(backend: str, package: str) -> None:
    """Refuse names of passes in the variable that the XLA of a package would ignore.

    Args:
        backend: who asks, for messages.
        package: one of `xla_library.LIBRARIES`.

    Raises:
        RunnerError: kind `unsupported`.
    """
    told = parsed(os.environ.get(VARIABLE, ""))
    for flag in _OF_PASSES:
        names = tuple(name for name in told.get(flag, "").split(",") if name)
        there = xla_library.holds(package, names) if names else frozenset()
        for name in names:
            if name not in there:
                raise unknown_name(backend, f"--{flag}", name, xla_passes.passes(package))


def known(package: str, options: Mapping[str, Any]) -> Dict[str, Any]:
    """Those of some flags that the XLA of a package knows: one that it does not ends the process."""
    there = xla_library.flags(package)
    return {name: value for name, value in options.items() if name in there}
