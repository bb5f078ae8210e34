"""XLA's passes and flags as settings, in JAX, Keras and TensorFlow: which there are, and refusals.

A backend that compiles by XLA offers three settings:

- `disabled_passes`: all optional passes but these run;
- `passes`: of the optional passes only these run, so that `[]` is none of them;
- `xla_flags`: XLA's own flags, such as `{"xla_cpu_enable_fast_math": true}`.

Optional passes are those without which a program means the same and can still be compiled. Passes
that write an operation in terms of others, choose layouts or insert copies always run. XLA ignores a
name that it does not know in silence, and a flag that it does not know ends the process: both are
refused here, by the names in the library's own file (`xla_library`).
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from runner.errors import RunnerError
from runner.refusals import unknown_name, unsupported, without_dashes
from runner.support import xla_library

DISABLED, ONLY, FLAGS = "disabled_passes", "passes", "xla_flags"
"""What the settings are called."""

OPTIONAL = (
    "algsimp",
    "batch-dot-simplification",
    "call-inliner",
    "conditional-to-select",
    "constant_folding",
    "convolution-canonicalization",
    "cpu-parallel-task-assigner",
    "cse",
    "dce",
    "dot-library-rewriter",
    "dynamic-dimension-simplifier",
    "fusion",
    "gather_simplifier",
    "gemv-rewriter",
    "literal-canonicalizer",
    "map-inline",
    "multi_output_fusion",
    "onednn-contraction-rewriter",
    "onednn-ops-rewriter",
    "optimize_input_output_buffer_alias",
    "reduce-window-rewriter",
    "reshape-mover",
    "scatter_simplifier",
    "shape-canonicalizer",
    "simplify-conditional",
    "simplify-sorts",
    "simplify-while-loops",
    "slice-sinker",
    "small-while-loop-hoisting",
    "topk-rewriter",
    "transpose-folding",
    "tree_reduction_rewriter",
    "tuple-simplifier",
    "while-loop-constant-sinking",
    "while-loop-invariant-code-motion",
    "while-loop-simplifier",
    "zero_sized_hlo_elimination",
)
"""Passes for the CPU, of any version, that only make a program faster or smaller."""

OPTIONAL_ON_GPU = (
    "cudnn-fused-convolution-rewriter",
    "fusion_merger",
    "gpu_horizontal_input_fusion",
    "gpu_horizontal_loop_fusion",
    "horizontal_input_fusion",
    "horizontal_loop_fusion",
    "multi_output_fusion",
    "priority-fusion",
    "triton-gemm-rewriter",
    "triton-softmax-rewriter",
)
"""Likewise for GPUs, beside those of the CPU that XLA has for both."""

_OWNED = {
    "xla_disable_hlo_passes": DISABLED,
    "xla_enable_hlo_passes_only": ONLY,
    "xla_disable_all_hlo_passes": f"{ONLY}: []",
    "xla_cpu_max_isa": "instruction_set",
    "xla_cpu_multi_thread_eigen": "threads",
    "xla_force_host_platform_device_count": "threads",
}
"""Flags that have a place of their own in a sweep."""

_OWNED_BEGINNINGS = {"xla_dump": "--keep-ir"}
_WRITES = ("_dir", "_file", "_path", "_to")
"""Ends of the names of flags that write files, or read what a cell's key does not know."""


def passes(package: str, *, gpu: bool = False) -> Tuple[str, ...]:
    """The optional passes of the XLA in a package, in alphabetical order.

    Args:
        package: one of `xla_library.LIBRARIES`.
        gpu: whether those for GPUs are meant too.
    """
    candidates = (*OPTIONAL, *OPTIONAL_ON_GPU) if gpu else OPTIONAL
    return tuple(sorted(xla_library.holds(package, tuple(sorted(set(candidates))))))


def offered(package: str) -> Dict[str, Tuple[str, ...]]:
    """The `names` of an `Offer`: both settings with every pass that there is."""
    there = passes(package)
    return {DISABLED: there, ONLY: there}


FREE = {FLAGS: "flags"}
"""The `free` of an `Offer`."""


def to_disable(backend: str, settings: Mapping[str, Any], there: Iterable[str]) -> Tuple[str, ...]:
    """The passes that XLA is to leave out, by effective settings, in alphabetical order.

    Args:
        backend: who asks, for messages.
        settings: as `Offer.accept` gives them; absent and None mean not given.
        there: all that could be left out, as `passes` gives them.

    Raises:
        RunnerError: kind `unsupported`, where both settings are given.
    """
    disabled: Optional[Iterable[str]] = settings.get(DISABLED)
    only: Optional[Iterable[str]] = settings.get(ONLY)
    if disabled is not None and only is not None:
        raise RunnerError(
            "unsupported",
            f"{backend}: {DISABLED} and {ONLY} both say which passes run; give one of them",
        )
    if only is not None:
        return tuple(sorted(set(there) - set(only)))
    return tuple(sorted(set(disabled or ())))


def checked_flags(
    backend: str,
    package: str,
    given: Optional[Mapping[str, Any]],
    besides: Optional[Mapping[str, str]] = None,
) -> Dict[str, Any]:
    """The flags that were given, each without leading dashes.

    Args:
        backend: who asks, for messages.
        package: one of `xla_library.LIBRARIES`.
        given: the setting `xla_flags`.
        besides: flags for which the backend has settings of its own, and their names.

    Raises:
        RunnerError: kind `unsupported`, for a flag that this XLA does not know, with near names,
            and for one that a sweep says by other means.
    """
    named = without_dashes(backend, FLAGS, given)
    there = xla_library.flags(package) if named else ()
    for name in named:
        if name not in there:
            raise unknown_name(backend, FLAGS, name, there)
        instead = {**_OWNED, **(besides or {})}.get(name)
        for beginning, other in _OWNED_BEGINNINGS.items():
            if name.startswith(beginning):
                instead = other
        if instead is not None or name.endswith(_WRITES):
            why = f"a sweep says it by {instead}" if instead else "it names files"
            raise unsupported(backend, "XLA flag", name, ("all others",), why=why)
    return named


def as_options(disabled: Iterable[str], flags: Mapping[str, Any]) -> Dict[str, Any]:
    """Both as options of one compilation, for a library that takes such."""
    options = dict(flags)
    left_out = ",".join(disabled)
    if left_out:
        options["xla_disable_hlo_passes"] = left_out
    return options


def as_flags(before: str, disabled: Iterable[str], flags: Mapping[str, Any]) -> str:
    """The text of XLA_FLAGS: what it was, with both in the place of what it said of them.

    Raises:
        RunnerError: kind `unsupported`, for a value with a space, which XLA would take for two.
    """
    options = as_options(disabled, flags)
    kept = [one for one in before.split() if one.lstrip("-").partition("=")[0] not in options]
    return " ".join([*kept, *(f"--{name}={_text(name, options[name])}" for name in options)])


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if len(text.split()) > 1 or text.strip() != text:
        why = "XLA divides its flags at spaces"
        raise unsupported("XLA", f"value of {name}", value, ("a text without spaces",), why=why)
    return text


def that_changed(files: Iterable[str]) -> List[str]:
    """The passes that changed the program, in order, each once, by the names of XLA's dumps.

    XLA writes `module_0000.jit_f.0012.simplification.after_algsimp.before_simplify-sorts.txt` after
    a pass that changed something; numbers give the order.
    """
    found: Dict[str, None] = {}
    for name in sorted(files):
        before, divider, rest = name.rpartition(".after_")
        done, _, following = rest.partition(".before_")
        if divider and following.endswith(".txt") and before and done != "pipeline-start":
            found.setdefault(done, None)
    return list(found)
