"""The backend `torch.export`: an exported program (`pt2`) compiled ahead of time by AOTInductor.

What runs is a shared library, without Python's part of PyTorch. On the CPU or one NVIDIA GPU; both
need a C++ compiler. Settings: `freezing` = false | true (weights are folded, and laid out for
oneDNN, when it is compiled); `max_autotune` = false | true (candidates of kernels are timed);
`onednn` = true | false (false: PyTorch's own convolutions on the CPU); `disabled_passes`, `passes` and
`flags` as with torch.compile. It keeps no compilations.
"""

from __future__ import annotations

import inspect
import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import torch

from runner.backends.base import BackendProbe, LoadRequest, Offer
from runner.errors import RunnerError, classify
from runner.fingerprints import Fingerprint
from runner.instruction_sets import HONOURED
from runner.support import torch_fingerprint, torch_inductor, torch_passes
from runner.support.torch_backend import TorchBackend
from runner.support.torch_inductor import Workshop
from runner.support.torch_operators import called_in_cpp
from runner.support.torch_probe import inductor, probed
from runner.support.torch_program import TorchProgram, made_on_cpu
from runner.support.torch_setup import GPU

STACK = "torch"


def _offer() -> Offer:
    return Offer(
        backend="torch.export",
        formats=("pt2",),
        devices=("cpu", "cuda"),
        instruction_sets=HONOURED["torch.export"],
        settings={
            "freezing": (False, True),
            "max_autotune": (False, True),
            "onednn": (True, False),
        },
        names=torch_passes.offered(),
        free={"flags": "flags"},
    )


_FROZEN = "_frozen_param"


class _AheadOfTime:
    """A package that AOTInductor wrote and loaded again."""

    runs = 0

    def __init__(self) -> None:
        self._model: Any = None
        self._graph: Any = None
        self._workshop: Optional[Workshop] = None
        self._ran: Dict[str, Any] = {}
        self._operators: Dict[str, int] = {}
        self._on_cpu: Dict[str, str] = {}
        self._weights: List[Tuple[str, Any]] = []

    def make(self, program: TorchProgram) -> Callable[[Any], Any]:
        settings = program.settings
        self._ran = torch_inductor.require_compiler("torch.export", headers=False)
        self._workshop = Workshop()
        inductor = torch_inductor.configure("torch.export", settings)
        if settings["max_autotune"]:
            inductor.max_autotune = True
        try:
            # Under gradients AOTInductor leaves weights as they are, whatever was asked for.
            with torch.no_grad():
                self._model, self._graph = _compiled(program, self._workshop.folder)
        except RunnerError:
            raise
        except Exception as error:
            failed = classify(error, "unsupported")
            message = f"AOTInductor can't compile the program: {failed.message}"
            raise RunnerError(failed.kind, message, failed.detail) from error
        if program.request.fingerprint:
            self._weights = list(program.exported.state_dict.items())
        self._look(self._workshop, program, settings)
        return self._model  # type: ignore[no-any-return]

    def ran(self) -> Dict[str, Any]:
        return self._ran

    def operators(self) -> Dict[str, int]:
        return self._operators

    def held(self) -> Iterable[Tuple[str, Any]]:
        # The weights are inside the library; `on_cpu` says for which device it was compiled.
        return ()

    def on_cpu(self) -> Dict[str, str]:
        return self._on_cpu

    def fingerprint(self, operators: Mapping[str, int], about: Sequence[str]) -> Fingerprint:
        if self._workshop is None:
            raise RunnerError("backend", "torch.export: a fingerprint before anything is compiled")
        sources, folder = self._workshop.sources(".cpp"), self._workshop.folder
        return torch_fingerprint.of_inductor(
            sources, folder, self._weights, operators, about, packed=True
        )

    def keep_ir(self, folder: str) -> None:
        """The program, and the code that AOTInductor generated of it: C++, Triton's."""
        torch_inductor.keep_program(self._graph, folder)
        if self._workshop is not None:
            torch_inductor.keep_generated(self._workshop.folder, folder)

    def close(self) -> None:
        self._model, self._graph = None, None
        if self._workshop is not None:
            self._workshop.close()

    def _look(self, workshop: Workshop, program: TorchProgram, settings: Mapping[str, Any]) -> None:
        """Read what was generated: whether it is frozen, and for which device it is."""
        source = "\n".join(workshop.sources(".cpp"))
        self._operators = called_in_cpp(source)
        if not self._operators:
            raise RunnerError(
                "unsupported",
                f"AOTInductor of PyTorch {torch.__version__} left no wrapper in which to see what "
                "it runs; use another version of PyTorch, or the backend torch.compile",
            )
        self._ran["frozen"] = _FROZEN in source
        if settings["freezing"] and not self._ran["frozen"]:
            raise RunnerError(
                "unsupported",
                "torch.export was asked for freezing and none of the weights was frozen: ask for "
                "freezing: false",
            )
        if program.device == "cpu":
            self._ran["vector_isa"] = torch_inductor.vector_isa()
            return
        metadata = dict(self._model.get_metadata()) if hasattr(self._model, "get_metadata") else {}
        compiled_for = metadata.get("AOTI_DEVICE_KEY", "cuda")
        if compiled_for != "cuda":
            self._on_cpu["the compiled library"] = str(compiled_for)
        self._on_cpu.update({n: "cpu" for n in self._operators if n.endswith("(inductor C++)")})
        self._on_cpu.update(made_on_cpu(self._graph))


def create(request: LoadRequest) -> TorchBackend:
    """A program to be compiled."""
    return TorchBackend(_offer(), request, _AheadOfTime())


def probe() -> BackendProbe:
    """Whether PyTorch imports, and whether there is what AOTInductor needs: `refused` says what is not."""
    return probed(_offer(), inductor(_try_compiler, _try_gpu), needed="")


def _compiled(program: TorchProgram, folder: str) -> Tuple[Any, Any]:
    """What is called, and what it was compiled from."""
    if _makes_packages():
        moved = program.moved()
        return _packaged(moved, folder), moved
    module = program.module()
    return _library(module, program.example(), program.device), module


def _makes_packages() -> bool:
    """Whether this PyTorch makes packages of exported programs: since 2.6."""
    try:
        from torch._inductor import aoti_compile_and_package
    except ImportError:
        return False
    # That of 2.5 takes other arguments.
    return "_deprecated_unused_args" in inspect.signature(aoti_compile_and_package).parameters


def _packaged(exported: Any, folder: str) -> Any:
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    package = os.path.join(folder, "model.pt2")
    aoti_compile_and_package(exported, package_path=package)
    return aoti_load_package(package)


def _library(module: Any, example: Any, device: str) -> Any:
    """A bare library, as before PyTorch 2.6."""
    from torch._export import aot_load
    from torch._inductor import aot_compile

    return aot_load(aot_compile(module, (example,)), device)


def _try_compiler() -> Optional[str]:
    return torch_inductor.try_compiler("torch.export", headers=False)


def _try_gpu() -> Optional[str]:
    torch_inductor.require_compiler("torch.export", headers=False)
    workshop = Workshop()
    try:
        torch_inductor.configure("torch.export", {"freezing": False})
        ones = torch.ones(2, 2, device=GPU)
        with torch.no_grad():
            program = torch.export.export(_Small(), (ones,))
            if _makes_packages():
                model = _packaged(program, workshop.folder)
            else:
                model = _library(program.module(), ones, GPU)
            total = float(model(ones))
        del model
    finally:
        workshop.close()
    return None if total == 12 else f"the sum of four threes is {total}"


class _Small(torch.nn.Module):  # type: ignore[misc]
    """What a probe compiles."""

    def forward(self, x: Any) -> Any:
        return (x * 2 + 1).sum()
