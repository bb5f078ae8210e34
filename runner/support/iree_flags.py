"""Flags of IREE's compiler: those that settings stand for, and further ones by name."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Tuple

from runner.backends.base import unsupported
from runner.instruction_sets import LLVM, OWN
from runner.refusals import without_dashes

SETTING = "compiler_flags"
"""A free setting: IREE's own flags, such as `{"iree-opt-const-eval": false}`."""

_OWNED = {
    "iree-hal-target-backends": "the backend",
    "iree-hal-target-device": "the backend",
    "iree-input-type": "the format",
    "iree-llvmcpu-target-cpu": "target_cpu or instruction_set",
    "iree-llvmcpu-target-cpu-features": "target_cpu or instruction_set",
    "iree-opt-level": "opt_level",
    "iree-opt-data-tiling": "data_tiling",
    "iree-scheduling-dump-statistics-file": "the harness",
    "iree-scheduling-dump-statistics-format": "the harness",
}
"""Flags that are said in another place."""

_BEGINNING = "iree-"
_WRITES = (
    *("-dump-", "-file", "-to-", "-path", "-plugin", "-tool", "-export", "-import", "-keep-"),
    *("-substitute-", "-library", "-artifacts"),
)
"""Parts of the names of flags that write files, or read code or weights from some."""


def of_settings(settings: Mapping[str, Any], instruction_set: str) -> Tuple[str, ...]:
    """The compiler's flags for settings and a ceiling.

    Raises:
        RunnerError: kind `unsupported`, for a flag that is no business of a sweep's.
    """
    flags = [f"--iree-llvmcpu-target-cpu={settings['target_cpu']}"]
    features = () if instruction_set == OWN else LLVM[instruction_set][1]
    if features:
        flags.append(f"--iree-llvmcpu-target-cpu-features={','.join(features)}")
    if settings["opt_level"] != "default":
        flags.append(f"--iree-opt-level={settings['opt_level']}")
    if settings["data_tiling"] != "default":
        flags.append(f"--iree-opt-data-tiling={'true' if settings['data_tiling'] else 'false'}")
    return (*flags, *_further(settings.get(SETTING)))


def _further(given: Optional[Mapping[str, Any]]) -> List[str]:
    named = without_dashes("iree", SETTING, given)
    for name in named:
        if name in _OWNED:
            raise _refused(name, f"a sweep says it by {_OWNED[name]}")
        if not name.startswith(_BEGINNING) or any(part in name for part in _WRITES):
            raise _refused(name, "flags that change what is compiled begin so, and write no files")
    return [f"--{name}={_text(value)}" for name, value in named.items()]


def _refused(name: str, why: str) -> Exception:
    return unsupported("iree", "compiler flag", name, (f"{_BEGINNING}*",), why=why)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
