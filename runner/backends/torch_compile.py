"""The backend `torch.compile`: an exported program (`pt2`) compiled by inductor in this process.

On the CPU, where it needs a C++ compiler, or on one NVIDIA GPU. Settings: `mode` = default |
reduce-overhead | max-autotune | max-autotune-no-cudagraphs (on the CPU, which has no CUDA graphs,
default or max-autotune) | off (nothing is compiled: the program is called as it is); `freezing` =
false | true (weights become constants, which are folded and laid out for oneDNN); `onednn` = true |
false (false: PyTorch's own convolutions on the CPU);
`disabled_passes` = optional passes of inductor's that are left out, `passes` = those that alone are
kept, `flags` = inductor's configuration by its own names, such as `{"cpp.simdlen": 256}`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Tuple

import torch

from runner.backends.base import BackendProbe, LoadRequest, Offer, unsupported
from runner.errors import RunnerError, classify
from runner.fingerprints import Fingerprint
from runner.instruction_sets import HONOURED
from runner.support import torch_fingerprint, torch_inductor, torch_passes
from runner.support.torch_backend import TorchBackend
from runner.support.torch_inductor import Workshop
from runner.support.torch_operators import called, inputs_taken
from runner.support.torch_probe import inductor, probed
from runner.support.torch_program import TorchProgram, held, made_on_cpu
from runner.support.torch_setup import GPU

STACK = "torch"

_GRAPHS = ("reduce-overhead", "max-autotune-no-cudagraphs")
_RECORDED = ("reduce-overhead", "max-autotune")
_OFF = "off"


def _offer() -> Offer:
    return Offer(
        backend="torch.compile",
        formats=("pt2",),
        devices=("cpu", "cuda"),
        instruction_sets=HONOURED["torch.compile"],
        settings={
            "mode": ("default", *_GRAPHS, "max-autotune", _OFF),
            "freezing": (False, True),
            "onednn": (True, False),
        },
        names=torch_passes.offered(),
        free={"flags": "flags"},
    )


class _Compiled:
    """One whole graph, compiled by its first call; a second compilation would be an error."""

    def __init__(self) -> None:
        self._module: Any = None
        self._workshop: Optional[Workshop] = None
        self._ran: Dict[str, Any] = {}
        self._operators: Dict[str, int] = {}
        self._on_cpu: Dict[str, str] = {}
        self.runs = 0

    def make(self, program: TorchProgram) -> Callable[[Any], Any]:
        settings = program.settings
        if settings["mode"] == _OFF:
            self._module = program.module()
            self._ran["frozen"] = False
            return self._module  # type: ignore[no-any-return]
        self._ran.update(torch_inductor.require_compiler("torch.compile", headers=True))
        self._workshop = Workshop(program.request.cache)
        torch_inductor.configure("torch.compile", settings)
        import torch._dynamo.config as dynamo

        dynamo.error_on_recompile = True
        self._module = program.module()
        compiled = torch.compile(
            self._module, fullgraph=True, dynamic=False, mode=settings["mode"], backend="inductor"
        )
        recorded = program.device != "cpu" and settings["mode"] in _RECORDED
        # The first call compiles, and the second records CUDA graphs.
        self.runs = 2 if recorded else 1
        try:
            # The input is made inside as well: how it was made is a part of what is compiled for.
            with torch.inference_mode():
                example = program.example()
                for _ in range(self.runs):
                    compiled(example)
        except Exception as error:
            failed = classify(error, "unsupported")
            message = f"torch.compile can't compile the program: {failed.message}"
            raise RunnerError(failed.kind, message, failed.detail) from error
        if recorded:
            self._ran["cuda_graphs"] = _require_cuda_graphs(str(settings["mode"]))
        self._look(self._workshop, settings, on_gpu=program.device != "cpu")
        return compiled  # type: ignore[no-any-return]

    def ran(self) -> Dict[str, Any]:
        return self._ran

    def operators(self) -> Optional[Dict[str, int]]:
        """Those in the code that was generated; of what was not compiled, a run tells them."""
        return None if self._workshop is None else self._operators

    def held(self) -> Iterable[Tuple[str, Any]]:
        return held(self._module)

    def on_cpu(self) -> Dict[str, str]:
        return made_on_cpu(self._module) if self._workshop is None else self._on_cpu

    def fingerprint(self, operators: Mapping[str, int], about: Sequence[str]) -> Fingerprint:
        if self._workshop is None:
            return torch_fingerprint.of_program(self._module, operators, about)
        tensors = dict(held(self._module))
        for module in self._workshop.imported():
            tensors.update(
                (name, value)
                for name, value in vars(module).items()
                if isinstance(value, torch.Tensor)
            )
        wrappers, folder = self._workshop.wrappers(), self._workshop.folder
        named = tensors.items()
        return torch_fingerprint.of_inductor(wrappers, folder, named, operators, about)

    def keep_ir(self, folder: str) -> None:
        """The program, and the code that inductor generated of it: Python, C++, Triton's."""
        torch_inductor.keep_program(self._module, folder)
        if self._workshop is not None:
            torch_inductor.keep_generated(self._workshop.folder, folder)

    def close(self) -> None:
        self._module = None
        if self._workshop is not None:
            self._workshop.close()
        torch.compiler.reset()

    def _look(self, workshop: Workshop, settings: Mapping[str, Any], *, on_gpu: bool) -> None:
        """Read what was generated: that it is one graph, is frozen as asked, and is where asked."""
        wrappers = workshop.wrappers()
        if len(wrappers) != 1:
            raise RunnerError(
                "unsupported",
                f"torch.compile generated {len(wrappers)} graphs of a program that is one: parts "
                "of it would run eagerly; ask for torch.eager, or another version of PyTorch",
            )
        self._operators = called(wrappers[0])
        inputs = inputs_taken(wrappers[0])
        if settings["freezing"] and inputs != 1:
            raise RunnerError(
                "unsupported",
                f"torch.compile was asked for freezing and the compiled graph still takes {inputs} "
                "tensors: its weights are no constants; ask for freezing: false",
            )
        self._ran["frozen"] = inputs == 1
        if on_gpu:
            self._on_cpu = made_on_cpu(self._module)
            generated = {n: "cpu" for n in self._operators if n.endswith("(inductor C++)")}
            self._on_cpu.update(generated)
        else:
            self._ran["vector_isa"] = torch_inductor.vector_isa()


def _require_cuda_graphs(mode: str) -> bool:
    """True, once inductor left none of the program out of CUDA graphs, which it does in silence.

    Raises:
        RunnerError: kind `unsupported`.
    """
    from torch._dynamo.utils import counters

    skipped = int(counters["inductor"]["cudagraph_skips"])
    if skipped:
        raise RunnerError(
            "unsupported",
            f"torch.compile was asked for the mode {mode} and skipped CUDA graphs {skipped} times: "
            "the program would run without them (the log says why, at `skipping cudagraphs`); ask "
            "for the mode default or max-autotune-no-cudagraphs",
        )
    return True


def create(request: LoadRequest) -> TorchBackend:
    """A program to be compiled.

    Raises:
        RunnerError: kind `unsupported`, for a mode that would do nothing on the CPU.
    """
    offer = _offer()
    settings = offer.accept(request)
    if settings["mode"] == _OFF:
        for name in ("freezing", "disabled_passes", "passes", "flags"):
            if settings.get(name) not in (None, False):
                why = "nothing is compiled with the mode off"
                raise unsupported("torch.compile", "setting with mode off", name, ("onednn",), why)
    if request.device == "cpu" and settings["mode"] in _GRAPHS:
        raise unsupported(
            "torch.compile",
            "mode on the CPU",
            settings["mode"],
            ("default", "max-autotune", _OFF),
            why="it differs from those in CUDA graphs alone",
        )
    return TorchBackend(offer, request, _Compiled())


def probe() -> BackendProbe:
    """Whether PyTorch imports, and whether there is what inductor needs: `refused` says what is not."""
    return probed(_offer(), inductor(_try_compiler, _try_gpu), needed="")


def _try_compiler() -> Optional[str]:
    return torch_inductor.try_compiler("torch.compile", headers=True)


def _try_gpu() -> Optional[str]:
    torch_inductor.require_compiler("torch.compile", headers=True)
    workshop = Workshop()
    try:
        torch_inductor.configure("torch.compile", {"freezing": False})
        compiled = torch.compile(lambda x: (x * 2 + 1).sum(), fullgraph=True, dynamic=False)
        with torch.inference_mode():
            total = float(compiled(torch.ones(2, 2, device=GPU)))
    finally:
        torch.compiler.reset()
        workshop.close()
    return None if total == 12 else f"the sum of four threes is {total}"
