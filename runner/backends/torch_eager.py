"""The backend `torch.eager`: an exported program (`pt2`) run by PyTorch's eager kernels.

On the CPU or one NVIDIA GPU. Settings: `onednn` = true | false (false: PyTorch's own convolutions
on the CPU); `memory_format` = contiguous | channels_last (how weights of convolutions lie in
memory; what they give lies the same way).
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping, Sequence, Tuple

import torch

from runner.backends.base import BackendProbe, LoadRequest, Offer, unsupported
from runner.fingerprints import Fingerprint
from runner.instruction_sets import HONOURED
from runner.support import torch_fingerprint
from runner.support.torch_backend import TorchBackend
from runner.support.torch_probe import as_it_is, kernels, probed
from runner.support.torch_program import TorchProgram, held, made_on_cpu

STACK = "torch"

_OFFER = Offer(
    backend="torch.eager",
    formats=("pt2",),
    devices=("cpu", "cuda"),
    instruction_sets=HONOURED["torch.eager"],
    settings={"onednn": (True, False), "memory_format": ("contiguous", "channels_last")},
)


class _Eager:
    """The program's module, as it is."""

    runs = 0

    def __init__(self) -> None:
        self._module: Any = None

    def make(self, program: TorchProgram) -> Callable[[Any], Any]:
        module = program.module()
        if program.settings["memory_format"] == "channels_last":
            images = [name for name, tensor in held(module) if len(tensor.shape) == 4]
            if not images:
                why = "the program holds no weight of four dimensions, so nothing would change"
                allowed = ("contiguous",)
                raise unsupported(
                    "torch.eager", "value of memory_format", "channels_last", allowed, why
                )
            module = module.to(memory_format=torch.channels_last)
        self._module = module
        return self._module  # type: ignore[no-any-return]

    def ran(self) -> Dict[str, Any]:
        return {}

    def operators(self) -> None:
        return None

    def held(self) -> Iterable[Tuple[str, Any]]:
        return held(self._module)

    def on_cpu(self) -> Dict[str, str]:
        return made_on_cpu(self._module)

    def fingerprint(self, operators: Mapping[str, int], about: Sequence[str]) -> Fingerprint:
        return torch_fingerprint.of_program(self._module, operators, about)

    def keep_ir(self, folder: str) -> None:
        """Nothing: operators are called one after the other."""

    def close(self) -> None:
        self._module = None


def create(request: LoadRequest) -> TorchBackend:
    """A program to be loaded."""
    return TorchBackend(_OFFER, request, _Eager())


def probe() -> BackendProbe:
    """Whether PyTorch imports, and by which means it computes here."""
    return probed(_OFFER, kernels(as_it_is), needed="native")
