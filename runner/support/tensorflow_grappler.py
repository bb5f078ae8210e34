"""Grappler's optimizers by name: those of TensorFlow's optimizer of graphs that can be left out.

Names are those that grappler itself writes into its log. What a graph needs to run at all (placing,
lowering of control flow, oneDNN's rewriting) is no optimizer of grappler's and stays as it is.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Mapping, Tuple

from runner.backends.base import unsupported
from runner.errors import RunnerError
from runner.support import named_passes

_OFF = 2
"""`RewriterConfig.Toggle.OFF` in rewriter_config.proto."""
_NO_MEMORY_OPTIMIZER = 1
"""`RewriterConfig.MemOptType.NO_MEM_OPT`."""

_SWITCHES: Mapping[str, Tuple[str, Any]] = {
    "arithmetic_optimizer": ("arithmetic_optimization", _OFF),
    "common_subgraph_elimination": ("common_subgraph_elimination", _OFF),
    "constant_folding": ("constant_folding", _OFF),
    "dependency_optimizer": ("dependency_optimization", _OFF),
    "function_optimizer": ("function_optimization", _OFF),
    "implementation_selector": ("implementation_selector", _OFF),
    "layout": ("layout_optimizer", _OFF),
    "loop_optimizer": ("loop_optimization", _OFF),
    "memory_optimizer": ("memory_optimization", _NO_MEMORY_OPTIMIZER),
    "model_pruner": ("disable_model_pruning", True),
    "remapper": ("remapping", _OFF),
    "shape_optimizer": ("shape_optimization", _OFF),
    "tfg_optimizer": ("disable_tfg_optimizer", True),
}
OPTIMIZERS = tuple(_SWITCHES)
"""All that run unless they are left out."""


def left_out(backend: str, settings: Mapping[str, Any]) -> Tuple[str, ...]:
    """The optimizers that a cell leaves out.

    Args:
        backend: who asks, for messages.
        settings: `disabled_passes`, `passes` and `grappler` are read.

    Raises:
        RunnerError: kind `unsupported`, where they contradict each other.
    """
    without = named_passes.left_out(backend, settings, OPTIMIZERS)
    if without is not None and not settings["grappler"]:
        why = "without grappler none of its optimizers runs, so that none can be named"
        raise unsupported(backend, "value of grappler beside passes", False, (True,), why)
    return without or ()


def switch_off(backend: str, names: Tuple[str, ...]) -> None:
    """Have this process's graphs be optimised without some optimizers.

    TensorFlow's own function for it, `tf.config.optimizer.set_experimental_options`, ignores the
    names that it does not know, and four of the optimizers are among them. So they are written into
    the configuration that it starts with, and looked for in the one that it gives to its graphs.

    Raises:
        RunnerError: kind `unsupported`, where this TensorFlow does not take one over.
    """
    if not names:
        return
    context = import_module("tensorflow.python.eager.context").context()
    configuration = import_module("tensorflow.core.protobuf.config_pb2").ConfigProto()
    rewriting = configuration.graph_options.rewrite_options
    for name in names:
        field, off = _SWITCHES[name]
        if not hasattr(rewriting, field):
            raise unsupported(backend, "pass to leave out", name, tuple(_there(rewriting)))
        setattr(rewriting, field, off)
    context._config = configuration  # noqa: SLF001 (there is no public way to it)
    taken = context.config.graph_options.rewrite_options
    ignored = [name for name in names if getattr(taken, _SWITCHES[name][0]) != _SWITCHES[name][1]]
    if ignored:
        raise RunnerError(
            "unsupported",
            f"{backend}: this TensorFlow does not take over that {', '.join(ignored)} be left out; "
            "use another version, or leave grappler out as a whole (grappler: false)",
        )


def _there(rewriting: Any) -> Tuple[str, ...]:
    return tuple(name for name, (field, _) in _SWITCHES.items() if hasattr(rewriting, field))
