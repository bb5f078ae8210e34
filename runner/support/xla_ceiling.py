"""XLA's flags for a ceiling on instruction sets, in JAX and in TensorFlow.

XLA reads them from the environment when it starts, and takes the ceiling as an option of one
compilation without heeding it. One that it does not know ends the process, so the library's file is
searched for the flags first. Of its helpers, oneDNN has a variable of its own; XNNPACK and YNNPACK
take what the processor has and are switched off. This module imports neither library.
"""

from __future__ import annotations

from typing import Dict, FrozenSet

from runner.backends.base import unsupported
from runner.instruction_sets import OWN, XLA
from runner.support import xla_library

_CEILING = "xla_cpu_max_isa"
YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
"""Names what XLA gives to YNNPACK."""

_HELPERS = {
    "xla_cpu_use_xnnpack": "false",
    "xla_cpu_experimental_xnn_fusion_type": "",
    YNNPACK: "",
}


def can_be_told(package: str) -> bool:
    """Whether the XLA of a package knows of ceilings.

    Args:
        package: `jaxlib` or `tensorflow`.
    """
    return _CEILING in _known(package)


def set_flags(backend: str, package: str, ceiling: str, before: str) -> str:
    """XLA's flags with those for a ceiling; for `own` they are left as they are.

    Args:
        backend: who asks, for messages.
        package: `jaxlib` or `tensorflow`.
        ceiling: what was asked for.
        before: the flags so far.

    Raises:
        RunnerError: kind `unsupported`, where this XLA knows of no ceilings.
    """
    if ceiling == OWN:
        return before
    known = _known(package)
    if _CEILING not in known:
        why = f"the XLA of this {package} has no flag {_CEILING}; use a newer version"
        raise unsupported(backend, "instruction set", ceiling, (OWN,), why=why)
    wanted = {_CEILING: XLA[ceiling], **_HELPERS}
    kept = [flag for flag in before.split() if flag.lstrip("-").partition("=")[0] not in wanted]
    return " ".join([*kept, *(f"--{name}={wanted[name]}" for name in wanted if name in known)])


def shown(flags: str) -> Dict[str, str]:
    """What `unproved` says of XLA: it tells the flags that it was given, and not what it made."""
    words = "it took the flags and does not tell what it compiles for"
    return {"xla": f"{words} ({flags})"}


def _known(package: str) -> FrozenSet[str]:
    """Which of the flags for a ceiling the library of a package holds the names of."""
    return xla_library.holds(package, (_CEILING, *_HELPERS))
