"""Inductor's optional passes by name, and its configuration as settings of a cell.

A pass is a switch of `torch._inductor.config` by its own name, or one of the passes over graphs that
inductor itself leaves out by name (`disabled_passes`, since PyTorch 2.10). Only those that are on by
default are listed, and none that a program needs in order to be lowered. What a version does not
have is not offered.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import Any, Dict, Mapping, Tuple

from runner.backends.base import unsupported
from runner.refusals import unknown_name
from runner.support import named_passes

_ON_OFF = (
    *("allow_buffer_reuse", "batch_fusion", "comprehensive_padding"),
    *("constant_and_index_propagation", "cpp.enable_loop_tail_vec", "cpp.enable_tiling_heuristics"),
    *("cpp.no_redundant_loops", "cpp.weight_prepack", "epilogue_fusion", "inplace_buffers"),
    *("joint_graph_constant_folding", "layout_optimization", "loop_index_inversion_in_fusion"),
    *("loop_ordering_after_fusion", "loop_reindexing_after_fusion", "online_softmax"),
    *("optimize_scatter_upon_const_tensor", "pattern_matcher", "pick_loop_orders"),
    *("prologue_fusion", "reorder_for_locality", "reorder_for_peak_memory", "shape_padding"),
    *("split_cat_fx_passes", "split_reductions"),
)
_BY_VALUE: Mapping[str, Tuple[str, Any]] = {
    "fusion": ("max_fusion_size", 1),
    "vectorisation": ("cpp.simdlen", 1),
}
"""Names of one's own for what inductor does and has no switch for: setting, and value without it."""
_OVER_GRAPHS = (
    *("constant_fold_uniform_value", "move_constructors_to_cuda", "pass_pattern_0"),
    *("pass_pattern_1", "pass_pattern_2", "remove_assert_ops", "remove_noop_ops"),
)
_LIST = "disabled_passes"
_DECIDED: Mapping[str, str] = {
    "freezing": "give the setting freezing",
    "compile_threads": "what is compiled is compiled by one thread",
    _LIST: "give the setting disabled_passes",
    "cpp.threads": "give the axis threads",
    "cpp.dynamic_threads": "give the axis threads",
    "triton.cudagraphs": "give the setting mode",
    "aot_inductor.output_path": "the harness says where files are written",
    "autotune_in_subproc": "what is compiled is compiled by one process",
    "bundled_autotune_remote_cache": "the harness says what is cached, and where",
    "fx_graph_remote_cache": "the harness says what is cached, and where",
    "global_cache_dir": "the harness says what is cached, and where",
}
_WRITES = ("trace.",)
"""Beginnings of flags by which inductor writes files beside those of the cell."""


def names(inductor: Any) -> Tuple[str, ...]:
    """The passes that this inductor can leave out.

    Args:
        inductor: the module `torch._inductor.config`.
    """
    found = [name for name in _ON_OFF if _value(inductor, name) is True]
    found += [name for name, (field, _) in _BY_VALUE.items() if _has(inductor, field)]
    if _has(inductor, _LIST):
        found += _OVER_GRAPHS
    return tuple(sorted(found))


def offered() -> Dict[str, Tuple[str, ...]]:
    """The settings that hold names of passes, for an offer."""
    return dict.fromkeys(named_passes.SETTINGS, names(import_module("torch._inductor.config")))


def apply(
    backend: str,
    inductor: Any,
    settings: Mapping[str, Any],
    decided: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Set inductor's configuration as a cell's `disabled_passes`, `passes` and `flags` say.

    Args:
        backend: for what is refused.
        inductor: the module `torch._inductor.config`.
        settings: of the cell.
        decided: flags that other settings of this cell decide, each with what to do.

    Raises:
        RunnerError: kind `unsupported`: the lists contradict each other, or a flag is none of this
            inductor's, or of another kind.
    """
    without = named_passes.left_out(backend, settings, names(inductor)) or ()
    over_graphs = [name for name in without if name in _OVER_GRAPHS]
    decided = dict(decided)
    for name in without:
        if name not in over_graphs:
            field, off = _BY_VALUE.get(name, (name, False))
            decided[field] = f"the pass {name} is left out by it"
            _set(inductor, field, off)
    if over_graphs:
        setattr(inductor, _LIST, ",".join(over_graphs))
    for name, value in (settings.get("flags") or {}).items():
        _check(backend, inductor, name, value, {**_DECIDED, **decided})
        _set(inductor, name, value)


def switch_off(inductor: Any, name: str) -> None:
    """Set a switch of inductor's configuration to False, where this version has it."""
    if _has(inductor, name):
        _set(inductor, name, value=False)


def _check(backend: str, inductor: Any, name: str, value: Any, decided: Mapping[str, str]) -> None:
    writes = "the harness says where files are written" if name.startswith(_WRITES) else None
    if why := decided.get(name, writes):
        allowed = ("those that nothing else decides",)
        raise unsupported(backend, "flag", name, allowed, why)
    if not _has(inductor, name):
        raise unknown_name(backend, "flags", name, _all(inductor))
    there = _value(inductor, name)
    if there is not None and type(there) is not type(value):
        kind = f"{type(there).__name__}, such as {there!r}"
        raise unsupported(backend, f"value of {name}", value, (kind,))


def _all(inductor: Any) -> Tuple[str, ...]:
    """Every name in inductor's configuration, as far as it lists them."""
    listed = getattr(inductor, "get_config_copy", dict)()
    return tuple(sorted(str(name) for name in listed))


def _has(inductor: Any, name: str) -> bool:
    place, last = _place(inductor, name)
    return not last.startswith("_") and place is not None and hasattr(place, last)


def _value(inductor: Any, name: str) -> Any:
    place, last = _place(inductor, name)
    return getattr(place, last, None)


def _set(inductor: Any, name: str, value: Any) -> None:
    place, last = _place(inductor, name)
    setattr(place, last, value)


def _place(inductor: Any, name: str) -> Tuple[Any, str]:
    """What holds a setting, and its name there: `cpp.simdlen` is the class `cpp`'s."""
    first, dot, last = name.partition(".")
    return (getattr(inductor, first, None), last) if dot else (inductor, first)
