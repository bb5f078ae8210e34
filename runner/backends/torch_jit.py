"""The backend `torch.jit`: an exported program (`pt2`) traced to TorchScript.

On the CPU or one NVIDIA GPU. Settings: `freeze` = true | false (weights become constants, which
PyTorch folds and fuses); `optimize_for_inference` = false | true (frozen graphs only: on the CPU
their convolutions become oneDNN's own, on the GPU cuDNN's fused ones); `optimized_execution` = true |
false (false: the executor runs the graph as it is); `onednn` = true | false (false: PyTorch's own
convolutions on the CPU); `disabled_passes` = passes over frozen graphs that are left out, `passes` =
those that alone are kept.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Tuple

import torch

from runner import ir_files
from runner.backends.base import BackendProbe, LoadRequest, Offer, unsupported
from runner.errors import RunnerError, classify
from runner.fingerprints import Fingerprint
from runner.instruction_sets import HONOURED
from runner.support import named_passes, torch_fingerprint, torch_script_passes
from runner.support.torch_backend import TorchBackend
from runner.support.torch_operators import in_graph
from runner.support.torch_probe import kernels, probed
from runner.support.torch_program import TorchProgram, as_list, made_on_cpu
from runner.support.torch_setup import warnings_are_no_errors

STACK = "torch"

_OFFER = Offer(
    backend="torch.jit",
    formats=("pt2",),
    devices=("cpu", "cuda"),
    instruction_sets=HONOURED["torch.jit"],
    settings={
        "freeze": (True, False),
        "optimize_for_inference": (False, True),
        "optimized_execution": (True, False),
        "onednn": (True, False),
    },
    names=dict.fromkeys(named_passes.SETTINGS, torch_script_passes.PASSES),
)
# TorchScript's executor watches the first runs and optimises for what it saw.
_RUNS_UNTIL_OPTIMISED = 3


class _Traced:
    """A traced module, run until its executor has optimised it."""

    runs = _RUNS_UNTIL_OPTIMISED

    def __init__(self) -> None:
        self._module: Any = None
        self._on_cpu: Dict[str, str] = {}
        self._operators: Optional[Dict[str, int]] = None

    def make(self, program: TorchProgram) -> Callable[[Any], Any]:
        settings = program.settings
        module = program.module()
        self._on_cpu = made_on_cpu(module)
        module = _Leaves(module)
        example = program.example()
        try:
            with torch.no_grad():
                traced = torch.jit.trace(module, (example,))
        except Exception as error:
            failed = classify(error, "unsupported")
            message = f"torch.jit can't trace the program: {failed.message}"
            raise RunnerError(failed.kind, message, failed.detail) from error
        traced = _optimised(traced, settings)
        if settings["optimize_for_inference"]:
            self._operators = in_graph(node.kind() for node in traced.graph.nodes())
        if not settings["optimized_execution"]:
            torch._C._set_graph_executor_optimize(False)  # noqa: SLF001 (for the whole process)
        with torch.inference_mode():
            for _ in range(_RUNS_UNTIL_OPTIMISED):
                traced(example)
        self._module = traced
        return self._module  # type: ignore[no-any-return]

    def ran(self) -> Dict[str, Any]:
        parameters = sum(1 for _ in self._module.named_parameters())
        return {"frozen": parameters == 0}

    def operators(self) -> Optional[Dict[str, int]]:
        """Those of a graph for inference stand in it; of others, a run tells the kernels."""
        return self._operators

    def held(self) -> Iterable[Tuple[str, Any]]:
        yield from self._module.named_parameters()
        yield from self._module.named_buffers()
        for node in self._module.inlined_graph.nodes():
            is_constant = node.kind() == "prim::Constant" and node.hasAttribute("value")
            if is_constant and node.kindOf("value") == "t":
                yield node.output().debugName(), node.t("value")

    def on_cpu(self) -> Dict[str, str]:
        return self._on_cpu

    def fingerprint(self, operators: Mapping[str, int], about: Sequence[str]) -> Fingerprint:
        last = getattr(torch._C, "_last_executed_optimized_graph", None)  # noqa: SLF001
        graph = self._module.inlined_graph if last is None else last()
        return torch_fingerprint.of_script(graph, self.held(), operators, about)

    def keep_ir(self, folder: str) -> None:
        """The graph as it was traced or frozen, and as the executor optimised it."""
        ir_files.write_text(folder, "graph.txt", self._module.inlined_graph)
        ir_files.write_text(folder, "code.py", self._module.code)
        last = getattr(torch._C, "_last_executed_optimized_graph", None)  # noqa: SLF001
        if last is None:
            ir_files.not_shown(folder, "this PyTorch does not show the graph that it executes")
        else:
            ir_files.write_text(folder, "executed_graph.txt", last())

    def close(self) -> None:
        self._module = None


def _optimised(traced: Any, settings: Mapping[str, Any]) -> Any:
    """The module as the settings freeze it."""
    kept = torch_script_passes.kept("torch.jit", settings)
    if kept is not None:
        return torch_script_passes.freeze(traced, kept)
    if settings["freeze"]:
        traced = torch.jit.freeze(traced.eval())
    return (
        torch.jit.optimize_for_inference(traced) if settings["optimize_for_inference"] else traced
    )


class _Leaves(torch.nn.Module):  # type: ignore[misc]
    """A module that gives its tensors alone: TorchScript knows few of Python's containers."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, fed: Any) -> Any:
        given = self.module(fed)
        return given if isinstance(given, torch.Tensor) else tuple(as_list(given))


def create(request: LoadRequest) -> TorchBackend:
    """A program to be traced.

    Raises:
        RunnerError: kind `unsupported`, where two settings contradict each other.
    """
    settings = _OFFER.accept(request)
    torch_script_passes.kept("torch.jit", settings)
    if settings["optimize_for_inference"]:
        for name, why in (
            ("freeze", "optimize_for_inference freezes the module itself"),
            ("onednn", "optimize_for_inference makes convolutions oneDNN's own"),
        ):
            if not settings[name]:
                raise unsupported("torch.jit", f"value of {name}", False, (True,), why)
    return TorchBackend(_OFFER, request, _Traced())


def probe() -> BackendProbe:
    """Whether PyTorch traces, and by which means what it traced computes here."""
    return probed(_OFFER, kernels(_traced), needed="native")


def _traced(function: Callable[..., Any], example: Any) -> Callable[..., Any]:
    with warnings_are_no_errors():
        return torch.jit.trace(function, (example,))  # type: ignore[no-any-return]
