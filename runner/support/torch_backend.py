"""What every PyTorch backend does alike; a `Way` is what each of them does by itself."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Protocol, Sequence, Tuple

import numpy as np
import torch

from runner.backends.base import STAGES, Description, LoadRequest, Offer, require_file
from runner.errors import RunnerError
from runner.fingerprints import Fingerprint
from runner.support import torch_ceiling, torch_fingerprint
from runner.support.tally import most
from runner.support.torch_operators import observed
from runner.support.torch_program import TorchProgram, as_list, on_device
from runner.support.torch_setup import GPU, as_set_up, set_up, warnings_are_no_errors


class Way(Protocol):
    """How a backend makes of a program what is called, and what it knows of that afterwards."""

    runs: int
    """How often `make` calls what it made, each time a whole inference."""

    def make(self, program: TorchProgram) -> Callable[[Any], Any]:
        """What is called with the input; everything that compiles is done when it returns."""

    def ran(self) -> Dict[str, Any]:
        """What it says of itself for `Description.ran`."""

    def operators(self) -> Optional[Dict[str, int]]:
        """What it runs, by kind; None: it is found by looking at one run."""

    def held(self) -> Iterable[Tuple[str, Any]]:
        """The tensors that it holds, by name."""

    def on_cpu(self) -> Dict[str, str]:
        """What of it runs on the CPU, by name, once it was made for a GPU."""

    def fingerprint(self, operators: Mapping[str, int], about: Sequence[str]) -> Fingerprint:
        """What it executes; `operators` are those of a run, `about` what chooses their kernels."""

    def keep_ir(self, folder: str) -> None:
        """Write what it made of the program into a folder; nothing, where it compiles nothing."""

    def close(self) -> None:
        """Remove what it left in files and memory."""


class TorchBackend:
    """A program that is run in one of PyTorch's ways, in inference mode."""

    def __init__(self, offer: Offer, request: LoadRequest, way: Way) -> None:
        self._offer = offer
        self._settings = offer.accept(request)
        self._request = request
        self._way = way
        self._on_gpu = request.device == "cuda"
        self._program: Optional[TorchProgram] = None
        self._run: Optional[Callable[[Any], Any]] = None
        self._proof: Dict[str, Any] = {}
        self._operators: Dict[str, int] = {}

    def load(self) -> None:
        """Set PyTorch up, and read the archive."""
        require_file(self._request.path)
        self._proof = set_up(self._offer.backend, self._request, self._settings)
        self._program = TorchProgram(self._offer.backend, self._request, self._settings)

    def compile(self) -> None:
        """Make what is called, and move it to the GPU."""
        if self._program is None:
            raise RunnerError("backend", "compile before load")
        self._about = (self._program.input, self._program.outputs)
        self._dtypes = {
            "computes_in": self._program.computes_in,
            "weights_in": self._program.weights_in,
        }
        with warnings_are_no_errors():
            self._run = self._way.make(self._program)
        self._program.close()

    def describe(self) -> Description:
        """The input and outputs that the program was exported with, and what runs it."""
        ran = self._offer.ran(self._request, self._settings, "torch")
        ran.update(as_set_up(self._request))
        ran.update(self._dtypes)
        ran["runs_in_compile"] = self._way.runs
        ran["versions"]["torch"] = ran["version"]
        ran.update(self._way.ran())
        operators = self._way.operators()
        if operators is not None:
            ran["operators"] = most(operators)
        return Description(input=self._about[0], outputs=self._about[1], ran=ran)

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call; from the GPU the outputs come back, which waits for them."""
        if self._on_gpu:
            return [tensor.cpu().numpy() for tensor in self._call(batch)]
        return [tensor.numpy() for tensor in self._call(batch)]

    def run_in_stages(self, batch: np.ndarray) -> Tuple[List[np.ndarray], Dict[str, int]]:
        """One call on the GPU between CUDA's own events, which its stream passes in order.

        A part lasts until the stream passes the next event, so that the three add up to the call:
        where the GPU waits for PyTorch to launch the next kernel, that is in the part it waits in.
        """
        run: Any = self._run
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(len(STAGES) + 1)]
        torch.cuda.synchronize()
        with torch.inference_mode():
            marks[0].record()
            fed = on_device(torch.from_numpy(batch), GPU)
            marks[1].record()
            tensors = as_list(run(fed))
            marks[2].record()
            outputs = [tensor.cpu().numpy() for tensor in tensors]
            marks[3].record()
        torch.cuda.synchronize()
        return outputs, {
            # Milliseconds, by PyTorch's documentation.
            stage: round(begin.elapsed_time(end) * 1_000_000)
            for stage, begin, end in zip(STAGES, marks, marks[1:])
        }

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """Which operators a run took, where that is not known yet; and on a GPU, that all is there.

        All means every parameter, buffer, constant and output, and no operator on the CPU.
        """
        found: Dict[str, Any] = {}
        operators = self._way.operators()
        if operators is None:
            operators = observed(lambda: self._call(batch))
            found["operators"] = most(operators)
        self._operators = operators
        found.update(
            torch_ceiling.told(
                self._offer.backend,
                self._request,
                lambda: self.run(batch),
                operators,
                self._way.ran(),
            )
        )
        return dict(found, **self._proven(batch)) if self._on_gpu else found

    def fingerprint(self, folder: str) -> Dict[str, Any]:  # noqa: ARG002
        """What runs, by its program and the kernels that were seen; called after `prove`."""
        about = torch_fingerprint.choosing_kernels(self._settings)
        # Neither is seen in what is called: how that is called is all that they change.
        about.append(f"cuda_graphs={self._way.ran().get('cuda_graphs')}")
        about.append(f"optimized_execution={self._settings.get('optimized_execution')}")
        with warnings_are_no_errors():
            return self._way.fingerprint(self._operators, about).as_document()

    def keep_ir(self, folder: str) -> None:
        """Write what the way made of the program."""
        with warnings_are_no_errors():
            self._way.keep_ir(folder)

    def close(self) -> None:
        """Drop what is called, and its files."""
        self._run = None
        self._way.close()

    def _call(self, batch: np.ndarray) -> List[Any]:
        """The output tensors, where they are left."""
        run: Any = self._run
        with torch.inference_mode():
            return as_list(run(on_device(torch.from_numpy(batch), GPU if self._on_gpu else "cpu")))

    def _proven(self, batch: np.ndarray) -> Dict[str, Any]:
        held = dict(self._way.held())
        held.update((f"output {i}", tensor) for i, tensor in enumerate(self._call(batch)))
        elsewhere = {name: str(t.device) for name, t in held.items() if str(t.device) != GPU}
        elsewhere.update(self._way.on_cpu())
        if elsewhere:
            listed = ", ".join(f"{name} on {where}" for name, where in list(elsewhere.items())[:6])
            raise RunnerError(
                "unsupported",
                f"{self._offer.backend} was asked to run on {GPU} and {len(elsewhere)} of the "
                f"program's parts are elsewhere ({listed}): export the program on the GPU, or ask "
                "for the device cpu",
            )
        return {
            "device_proof": dict(
                self._proof,
                device=GPU,
                tensors=len(held),
                allocated_bytes=int(torch.cuda.memory_allocated(0)),
            )
        }
