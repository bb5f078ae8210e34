"""The backend `openvino`: models by OpenVINO on the CPU.

It reads its own format (a folder), ONNX, frozen TensorFlow graphs, TensorFlow's SavedModels (a
folder), and TensorFlow Lite files that are not quantised.

Precision `f32` is asked for explicitly, because OpenVINO's own choice (`default`) is bf16 on a CPU
that has it, and labels change with it. The batch is fixed when the model is read.

Settings: `execution_mode` = performance | accuracy (with precision `default`, accuracy keeps the
model's own number format); `cpu_pinning` = True | False (threads stay on their cores); `snippets` =
True | False (elementwise layers are fused into generated kernels); `denormals_optimization` =
default | True | False (numbers too small for float32's full precision become zero); `properties`,
further ones of its CPU plug-in by name. Which of its transformations run can't be chosen. One stream
answers one request at a time, so that all threads work on it; the hint for throughput would only
share them out among streams that nobody feeds.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import openvino as ov

from runner import tiny
from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    TensorSpec,
    comparable,
    only_input,
    require_file,
    start_each,
    unsupported,
)
from runner.errors import RunnerError, classify
from runner.instruction_sets import HONOURED
from runner.support import (
    openvino_ceiling,
    openvino_form,
    openvino_graph,
    openvino_ir,
    openvino_options,
    openvino_outputs,
)

STACK = "openvino"

_OFFER = Offer(
    backend="openvino",
    formats=("onnx", "tflite", "openvino", "graphdef", "savedmodel"),
    settings={
        "execution_mode": ("performance", "accuracy"),
        "cpu_pinning": (True, False),
        "snippets": (True, False),
        "denormals_optimization": ("default", True, False),
    },
    free={openvino_options.PROPERTIES: "flags"},
    instruction_sets=HONOURED["openvino"],
)


class OpenVino:
    """One compiled model and one inference request, tuned for latency with one stream."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        openvino_options.check(self._settings)
        self._request = request
        self._core = ov.Core()
        self._compiled: Optional[ov.CompiledModel] = None

    def load(self) -> None:
        """Read the model and fix its dynamic dimensions to what will be fed."""
        self._model = model = self._read()
        # Compiling adds names of inner tensors, in no fixed order: these are the model's own.
        self._input_name = openvino_outputs.name(model.inputs[0], "input")
        self._output_names = [
            openvino_outputs.name(o, f"output_{i}") for i, o in enumerate(model.outputs)
        ]

    def compile(self) -> None:
        """Compile for the CPU with the threads, precision and settings asked for."""
        try:
            self._compiled = self._compiled_of(self._model, self._request.cache)
        except Exception as error:
            raise openvino_options.refusal(error) from error
        self._nodes = openvino_graph.nodes(self._compiled)
        hint = _type_name(self._compiled.get_property("INFERENCE_PRECISION_HINT"))
        reduced = openvino_graph.reduced(self._nodes) or (() if hint == "f32" else (hint,))
        if self._request.precision == "f32" and reduced:
            raise RunnerError("backend", f"asked for f32 and OpenVINO took {', '.join(reduced)}")
        pinned = bool(self._compiled.get_property("ENABLE_CPU_PINNING"))
        if pinned != self._settings["cpu_pinning"] and "cpu_pinning" in self._request.settings:
            raise unsupported(
                "openvino", "value of cpu_pinning", not pinned, (pinned,), why="on this machine"
            )
        self._settings["cpu_pinning"] = pinned
        taken = int(self._compiled.get_property("INFERENCE_NUM_THREADS"))
        if taken != self._request.threads:
            raise unsupported("openvino", "number of threads", self._request.threads, (taken,))
        self._infer = self._compiled.create_infer_request()

    def describe(self) -> Description:
        """The compiled model's input and outputs."""
        compiled = self._compiled
        if compiled is None:
            raise RunnerError("backend", "describe before compile")
        ran = _OFFER.ran(self._request, self._settings, "openvino")
        ran["computes_in"] = openvino_graph.computes_in(self._nodes)
        ran["providers"] = list(compiled.get_property("EXECUTION_DEVICES"))
        ran["streams"] = int(compiled.get_property("NUM_STREAMS"))
        ran["operators"] = openvino_graph.by_primitive(self._nodes)
        if self._request.cache:
            ran["loaded_from_cache"] = bool(compiled.get_property("LOADED_FROM_CACHE"))
        return Description(
            input=_spec(compiled.inputs[0], self._input_name),
            outputs=tuple(_spec(o, n) for o, n in zip(compiled.outputs, self._output_names)),
            ran=ran,
        )

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One synchronous inference; the outputs are copies."""
        results = self._infer.infer([batch], share_inputs=True)
        return [results[index] for index in range(len(results))]

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """Only the CPU is offered: what shows that a ceiling on its instruction sets is kept."""
        return openvino_ceiling.told(self._request, lambda: self.run(batch), self._nodes)

    def fingerprint(self, folder: str) -> Dict[str, Any]:
        """The graph that runs, the model's constants, and what neither shows of how it runs.

        Its transformations are noted while the model is read and compiled once more.

        Raises:
            RunnerError: kind `backend`, where that gives another graph: then there is no one form.
        """
        with openvino_form.noted(folder) as passes:
            model = self._read()
            again = self._compiled_of(model, None)
        if openvino_form.lines(again) != openvino_form.lines(self._compiled):
            raise RunnerError("backend", "OpenVINO made two different graphs of the same model")
        unseen = openvino_options.unseen(self._settings)
        return openvino_form.fingerprint(self._compiled, model, unseen, passes).as_document()

    def keep_ir(self, folder: str) -> None:
        """The graph that runs, with the kernel of each node."""
        openvino_ir.keep(self._compiled, folder)

    def close(self) -> None:
        """Drop the compiled model."""
        self._compiled = None

    def _read(self) -> Any:
        """The model, with what will be fed in the place of its dynamic dimensions."""
        request = self._request
        path = _file(request)
        try:
            model = self._core.read_model(path)
        except Exception as error:
            refused = classify(error, "model")
            message = f"{request.path}: {refused.message}"
            raise RunnerError(refused.kind, message, refused.detail) from error
        openvino_outputs.put_in_order(model, request.format, request.path)
        only_input("openvino", [openvino_outputs.name(port, "input") for port in model.inputs])
        if request.format == "tflite":
            _refuse_quantised(model)
        declared = model.inputs[0].partial_shape
        fed = (request.batch,) + request.item_shape
        if not declared.is_static and declared.rank.is_static and len(declared) == len(fed):
            shape = [
                size.get_length() if size.is_static else got for size, got in zip(declared, fed)
            ]
            model.reshape({model.inputs[0]: shape})
        return model

    def _compiled_of(self, model: Any, cache: Optional[str]) -> Any:
        wanted = openvino_options.wanted(self._request, self._settings, cache)
        return self._core.compile_model(model, "CPU", wanted)


def create(request: LoadRequest) -> OpenVino:
    """A model to be loaded."""
    return OpenVino(request)


def probe() -> BackendProbe:
    """Whether OpenVINO imports and its CPU plug-in runs a tiny model; the other devices too."""
    core = ov.Core()
    devices = tuple(core.available_devices)
    started, refused = start_each(devices, lambda device: _start(core, device))
    ok = "CPU" in started
    return BackendProbe(
        ok=ok,
        version=ov.__version__.split("-", 1)[0],
        detail="" if ok else refused.get("CPU", "OpenVINO finds no CPU device"),
        formats=_OFFER.formats,
        offer=_OFFER,
        providers=devices,
        started=started,
        refused=refused,
        builds={"openvino": {"build": ov.get_version()}},
        cpu_used={"openvino": _capabilities(core)},
    )


def _file(request: LoadRequest) -> str:
    """What OpenVINO is to read; of a folder, the file in it that it names.

    Raises:
        RunnerError: kind `model`, if it is not there.
    """
    inside = {"openvino": "model.xml", "savedmodel": "saved_model.pb"}.get(request.format)
    require_file(request.path if inside is None else os.path.join(request.path, inside))
    # Of a SavedModel the folder itself: its variables lie beside the file.
    return os.path.join(request.path, "model.xml") if request.format == "openvino" else request.path


def _start(core: Any, device: str) -> Optional[str]:
    compiled = core.compile_model(core.read_model(model=tiny.ONNX), device)
    output = compiled.create_infer_request().infer([tiny.ROW])[0]
    return None if tiny.is_right(output) else f"a tiny model gave {output.tolist()}"


def _capabilities(core: Any) -> Tuple[str, ...]:
    """The number formats that OpenVINO says this processor speeds up."""
    try:
        return tuple(str(one) for one in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    except Exception:
        return ()


def _refuse_quantised(model: Any) -> None:
    for port in [*model.inputs, *model.outputs]:
        if not port.element_type.is_real():
            raise RunnerError(
                "unsupported",
                "openvino: reading a quantised TFLite model, OpenVINO drops the scale and zero "
                f"point of {openvino_outputs.name(port, 'a tensor')!r}, so its values can't be compared; run it "
                "with the backend tflite",
            )


def _spec(port: Any, name: str) -> TensorSpec:
    kind = _type_name(port.element_type)
    dtype = comparable("openvino", name, openvino_graph.numpy_name(kind))
    partial = port.partial_shape
    shape = None
    if partial.rank.is_static:
        shape = tuple(size.get_length() if size.is_static else None for size in partial)
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def _type_name(kind: Any) -> str:
    return str(kind.get_type_name()) if hasattr(kind, "get_type_name") else str(kind)
