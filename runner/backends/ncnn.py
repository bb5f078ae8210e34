"""The backend `ncnn`: models by Tencent's ncnn on the CPU, in the one file that `onnx>ncnn` writes.

Precision `f32` turns off every 16-bit storage and arithmetic; `default` leaves ncnn its own choice,
which is fp16 wherever this processor has a kernel for it. Settings: `winograd`, `sgemm` (how
convolutions are computed) and `packing_layout` (channels side by side for vector instructions),
each True | False. ncnn has no batch: one image a call.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Dict, List, Optional

import ncnn
import numpy as np

from runner import fingerprints, ir_files, tiny
from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    TensorSpec,
    start_each,
    unsupported,
)
from runner.errors import RunnerError
from runner.support import native_threads, ncnn_file
from runner.support.tally import tally

STACK = "ncnn"

_OFFER = Offer(
    backend="ncnn",
    formats=("ncnn",),
    settings={"winograd": (True, False), "sgemm": (True, False), "packing_layout": (True, False)},
)
_OPTIONS = {
    "winograd": "use_winograd_convolution",
    "sgemm": "use_sgemm_convolution",
    "packing_layout": "use_packing_layout",
}
_FEATURES = "cpu_support_"

_TINY = "7767517\n2 2\nInput in0 0 1 in0\nInnerProduct y 1 1 in0 out0 0=4 1=0 2=16\n"


class Ncnn:
    """One net. Its weights are rearranged for the processor while they are read: all is `load`."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        if request.batch != 1:
            raise unsupported("ncnn", "batch", request.batch, (1,), why="its tensors have none")
        self._request = request
        self._net: Optional[Any] = None
        self._threads_before = native_threads.count()

    def load(self) -> None:
        """Read the file with the options asked for."""
        request = self._request
        self._tensors = ncnn_file.read_tensors(request.path)
        options: Dict[str, Any] = {"use_vulkan_compute": False, "num_threads": request.threads}
        options.update({_OPTIONS[name]: value for name, value in self._settings.items()})
        if request.precision == "f32":
            options.update(dict.fromkeys(ncnn_file.reduced_options(ncnn), False))
        net = ncnn_file.load(ncnn, request.path, options)
        taken = {name: getattr(net.opt, name) for name in options}
        if taken != options:
            raise RunnerError("backend", f"asked ncnn for {options} and it took {taken}")
        self._net = net

    def compile(self) -> None:
        """Nothing: reading did it."""
        if self._net is None:
            raise RunnerError("backend", "compile before load")

    def describe(self) -> Description:
        """The tensors as they were before the conversion, and the layers that ncnn has."""
        net = self._net
        if net is None:
            raise RunnerError("backend", "describe before load")
        ran = _OFFER.ran(self._request, self._settings, "ncnn")
        allowed = [name for name in ncnn_file.reduced_options(ncnn) if getattr(net.opt, name)]
        if not allowed:
            # Where kernels for 16 bits may be taken, ncnn does not tell which are.
            ran["computes_in"] = ["float32"]
        ran["reduced_precision"] = [name[len("use_") :] for name in allowed]
        ran["vulkan"] = bool(net.opt.use_vulkan_compute)
        ran["operators"] = tally(layer.type for layer in net.layers())
        return Description(
            input=_spec(self._tensors.input),
            outputs=tuple(_spec(output) for output in self._tensors.outputs),
            ran=ran,
        )

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One extractor for one image; the outputs are copies."""
        return ncnn_file.infer(ncnn, self._net, self._tensors, batch)

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:  # noqa: ARG002
        """Only the CPU is offered; what is told is how many threads OpenMP started for it.

        A model without a loop worth sharing starts fewer than it may.
        """
        started = native_threads.started_since(self._threads_before)
        if started is None:
            return {}
        if started > self._request.threads - 1:
            asked = self._request.threads
            raise unsupported("ncnn", "number of threads", asked, (started + 1,))
        return {"threads_started": started}

    def fingerprint(self, folder: str) -> Dict[str, Any]:  # noqa: ARG002
        """The layers and weights, and all by which ncnn chooses kernels, which it does not show.

        So two options that choose the same kernels are told apart: never is a difference missed.
        """
        path, net = self._request.path, self._net
        if net is None:
            raise RunnerError("backend", "fingerprint before load")
        options = ("num_threads", *_OPTIONS.values(), *ncnn_file.reduced_options(ncnn))
        told = [f"option {name}={getattr(net.opt, name)}" for name in sorted(options)]
        told += [f"processor {name}" for name in _features()]
        lines = [*ncnn_file.layers(path).decode("utf-8").splitlines(), *told]
        return fingerprints.of_lines(
            "ncnn",
            lines,
            [ncnn_file.weights(path)],
            operators=fingerprints.count(layer.type for layer in net.layers()),
            code_bytes=os.path.getsize(path),
        ).as_document()

    def keep_ir(self, folder: str) -> None:
        """The layers as text, from the file: ncnn does not write those that it has loaded."""
        ir_files.write_bytes(folder, "model.param", ncnn_file.layers(self._request.path))

    def close(self) -> None:
        """Free the net."""
        if self._net is not None:
            self._net.clear()
        self._net = None


def create(request: LoadRequest) -> Ncnn:
    """A net to be loaded."""
    return Ncnn(request)


def probe() -> BackendProbe:
    """Whether ncnn imports and one of its layers computes on the CPU."""
    started, refused = start_each(("cpu",), _start)
    return BackendProbe(
        ok="cpu" in started,
        version=str(ncnn.__version__),
        detail=refused.get("cpu", ""),
        formats=_OFFER.formats,
        offer=_OFFER,
        providers=("cpu",),
        started=started,
        refused=refused,
        builds={"ncnn": {"package": f"ncnn {ncnn.__version__}"}},
        cpu_used={"ncnn": _features()},
    )


def _start(provider: str) -> Optional[str]:  # noqa: ARG001
    """Multiply a row by the identity, in a layer with weights."""
    with tempfile.TemporaryDirectory(prefix="ncnn-") as folder:
        param, weights = os.path.join(folder, "p"), os.path.join(folder, "w")
        with open(param, "w", encoding="utf-8") as text:
            text.write(_TINY)
        # Four bytes of zeros say that float32 follows.
        content = np.concatenate([np.zeros(1), np.eye(4).ravel()]).astype(np.float32)
        content.tofile(weights)
        ends = (
            ncnn_file.Tensor("x", tiny.ROW.shape, "in0"),
            ncnn_file.Tensor("y", tiny.ROW.shape, "out0"),
        )
        tensors = ncnn_file.Tensors(ends[0], ends[1:])
        model = os.path.join(folder, "tiny.ncnn")
        ncnn_file.write(model, param, weights, tensors)
        net = ncnn_file.load(ncnn, model, {"use_vulkan_compute": False, "num_threads": 1})
    (output,) = ncnn_file.infer(ncnn, net, tensors, tiny.ROW)
    return None if tiny.is_right(output) else f"a tiny model gave {output.tolist()}"


def _features() -> Any:
    """The processor features that ncnn says it found, of those that it tells of."""
    asked = [name for name in dir(ncnn) if name.startswith(_FEATURES)]
    return tuple(name[len(_FEATURES) :] for name in asked if getattr(ncnn, name)())


def _spec(tensor: ncnn_file.Tensor) -> TensorSpec:
    return TensorSpec(name=tensor.name, dtype="float32", shape=tensor.shape)
