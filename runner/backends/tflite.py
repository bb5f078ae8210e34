"""The backend `tflite`: TFLite models by LiteRT, or by the older packages with the same interpreter.

Settings: `kernels` = xnnpack | builtin | reference: the delegate XNNPACK with the library's own
kernels for what it does not take; these alone; or the plain loops that define what an operator is.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from runner import fingerprints, tiny
from runner.backends.base import (
    BackendProbe,
    Description,
    LoadRequest,
    Offer,
    TensorSpec,
    installed_version,
    only_input,
    require_file,
    start_each,
    unsupported,
)
from runner.errors import RunnerError, classify
from runner.support import native_threads
from runner.support.tflite_interpreter import (
    RESOLVERS,
    by_kernel,
    computed_in,
    delegated,
    import_interpreter,
    operators,
    partitions,
    plan_of,
    resolver,
)

STACK = "litert"

_OFFER = Offer(backend="tflite", formats=("tflite",), settings={"kernels": tuple(RESOLVERS)})

_PACKAGE, _TFLITE = import_interpreter()

_TOO_NEW = "find op for builtin opcode"


class TfLite:
    """One interpreter. Reading the file is `load`; allocation, with the delegate, is `compile`."""

    def __init__(self, request: LoadRequest) -> None:
        self._settings = _OFFER.accept(request)
        self._kernels = str(self._settings["kernels"])
        self._resolver = resolver(_TFLITE, _PACKAGE, self._kernels)
        if self._kernels == "reference" and request.threads != 1:
            raise unsupported(
                "tflite",
                "number of threads",
                request.threads,
                (1,),
                why="the reference kernels run on one, whatever they are told",
            )
        self._request = request
        self._interpreter: Optional[Any] = None
        self._threads_before = native_threads.count()

    def load(self) -> None:
        """Make the interpreter."""
        request = self._request
        require_file(request.path)
        try:
            interpreter = _TFLITE.Interpreter(
                model_path=request.path,
                num_threads=request.threads,
                experimental_op_resolver_type=self._resolver,
            )
        except Exception as error:
            refused = classify(error, "model")
            message = f"{request.path}: {refused.message}"
            if _TOO_NEW in refused.message:
                message += (
                    ": it was made by a newer TensorFlow than this package knows; convert it by an "
                    "older one (tflite@tensorflow-2.15 in the route), or run it by a newer stack"
                )
            raise RunnerError(refused.kind, message, refused.detail) from error
        only_input("tflite", [str(d["name"]) for d in interpreter.get_input_details()])
        self._interpreter = interpreter

    def compile(self) -> None:
        """Resize the input to the batch and to what is dynamic, then allocate."""
        interpreter, request = self._interpreter, self._request
        if interpreter is None:
            raise RunnerError("backend", "compile before load")
        details = interpreter.get_input_details()[0]
        shape = _resized(details, (request.batch,) + request.item_shape)
        resized = shape != tuple(int(size) for size in details["shape"])
        try:
            if resized:
                interpreter.resize_tensor_input(details["index"], shape)
            interpreter.allocate_tensors()
        except Exception as error:
            if resized:
                raise _fixed_batch(details, request.batch, error) from error
            raise
        self._input_index = details["index"]
        self._output_indices = [d["index"] for d in interpreter.get_output_details()]
        for output in interpreter.get_output_details():
            if resized and len(output["shape"]) and int(output["shape"][0]) != request.batch:
                raise _fixed_batch(details, request.batch, None)
        self._operators = operators(interpreter)
        if self._kernels == "xnnpack":
            _require_delegate(self._operators)

    def describe(self) -> Description:
        """Input and outputs with their scales and zero points."""
        interpreter = self._interpreter
        if interpreter is None:
            raise RunnerError("backend", "describe before load")
        ran = _OFFER.ran(self._request, self._settings, _PACKAGE)
        ran["package"] = _PACKAGE
        if self._operators is not None:
            ran["operators"] = by_kernel(self._operators, self._kernels)
            ran["delegated_operators"] = len(delegated(self._operators))
            ran["delegated_partitions"] = partitions(self._operators)
            ran["computes_in"] = computed_in(interpreter, self._operators)
        if self._kernels == "xnnpack":
            # Asked for, and with nobody to ask whether it took a part of the model.
            ran["delegate_proven"] = self._operators is not None
        return Description(
            input=_spec(interpreter.get_input_details()[0]),
            outputs=tuple(_spec(d) for d in interpreter.get_output_details()),
            ran=ran,
        )

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """Set the input, invoke, copy the outputs."""
        interpreter: Any = self._interpreter
        interpreter.set_tensor(self._input_index, batch)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._output_indices]

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:  # noqa: ARG002
        """Only the CPU is offered; what is told is how many threads the library started.

        XNNPACK's pool holds the calling thread and all others from the start. The library's own
        kernels start theirs where they have work for them, so that fewer may be there.
        """
        started = native_threads.started_since(self._threads_before)
        if started is None:
            return {}
        wanted = self._request.threads - 1
        too_few = self._kernels == "xnnpack" and started < wanted
        if too_few or (wanted == 0 and started > 0):
            raise unsupported("tflite", "number of threads", wanted + 1, (started + 1,))
        return {"threads_started": started}

    def fingerprint(self, folder: str) -> Dict[str, Any]:  # noqa: ARG002 (nothing is written)
        """What the interpreter runs: the file, each operator by who runs it, and its tensors.

        The library compiles nothing that it shows. What it runs follows from the file, from the
        kernels that it was given and from what the delegate took; the delegate packs the file's own
        weights.

        Raises:
            RunnerError: kind `unsupported`, where this version does not list its operators.
        """
        interpreter: Any = self._interpreter
        if self._operators is None:
            version = f"{_PACKAGE} {installed_version(_PACKAGE)}"
            message = f"tflite: {version} does not list the operators that it runs"
            raise RunnerError("unsupported", message)
        with open(self._request.path, "rb") as file:
            content = file.read()
        lines = plan_of(interpreter, self._operators, self._kernels)
        whole = fingerprints.of_lines("tflite", lines, [content])
        return fingerprints.Fingerprint(
            form="tflite",
            sha256=whole.sha256,
            operators=by_kernel(self._operators, self._kernels),
        ).as_document()

    def close(self) -> None:
        """Drop the interpreter."""
        self._interpreter = None


def create(request: LoadRequest) -> TfLite:
    """An interpreter to be loaded."""
    return TfLite(request)


def probe() -> BackendProbe:
    """Whether the interpreter runs a tiny model by each of its kinds of kernels."""
    providers = tuple(RESOLVERS)
    started, refused = start_each(providers, _start)
    ok = "builtin" in started
    return BackendProbe(
        ok=ok,
        version=installed_version(_PACKAGE),
        detail="" if ok else refused["builtin"],
        formats=_OFFER.formats,
        offer=_OFFER,
        providers=providers,
        started=started,
        refused=refused,
        builds={"tflite": {"package": f"{_PACKAGE} {installed_version(_PACKAGE)}"}},
    )


def _start(kernels: str) -> Optional[str]:
    interpreter = _TFLITE.Interpreter(
        model_content=tiny.TFLITE,
        num_threads=1,
        experimental_op_resolver_type=resolver(_TFLITE, _PACKAGE, kernels),
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tiny.ROW)
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    if not tiny.is_right(output):
        return f"a tiny model gave {output.tolist()}"
    listed = operators(interpreter)
    if kernels == "xnnpack" and listed is not None and not partitions(listed):
        return "the delegate took no part of a tiny model"
    return None


def _require_delegate(listed: Optional[List[Dict[str, Any]]]) -> None:
    """Refuse a model of which XNNPACK took nothing: it would run by other kernels than asked for.

    Older packages leave quantised operators alone.
    """
    if listed is not None and listed and not partitions(listed):
        raise RunnerError(
            "unsupported",
            f"tflite: XNNPACK in {_PACKAGE} {installed_version(_PACKAGE)} takes none of the "
            f"model's {len(listed)} operators (are they quantised?), so all of it would run by the "
            "library's own kernels: ask for kernels=builtin, which is just that",
        )


def _resized(details: Dict[str, Any], fed: Tuple[int, ...]) -> Tuple[int, ...]:
    """The shape to run with: the batch, and what is fed where the model leaves it open.

    A TFLite file nearly always says batch 1 where its maker left the batch open, so resizing it is
    tried; a model with a fixed reshape inside refuses when it is allocated.
    """
    declared = tuple(int(size) for size in details["shape"])
    if len(declared) != len(fed):
        return declared
    signature = [int(size) for size in details.get("shape_signature", declared)]
    if len(signature) != len(fed):
        signature = list(declared)
    rest = [got if size < 0 else size for size, got in zip(signature[1:], fed[1:])]
    return (fed[0], *rest)


def _fixed_batch(details: Dict[str, Any], batch: int, error: Optional[Exception]) -> RunnerError:
    declared = int(details["shape"][0])
    reason = f" ({' '.join(str(error).split())})" if error else ""
    return RunnerError(
        "unsupported",
        f"tflite: the model can't be resized from batch {declared} to {batch}{reason}: ask for "
        f"batch {declared}, or export it with a dynamic batch",
    )


def _spec(details: Dict[str, Any]) -> TensorSpec:
    name = str(details["name"])
    quantised = details.get("quantization_parameters", {})
    scales = np.asarray(quantised.get("scales", ()))
    if scales.size > 1:
        message = f"tflite: {name!r} is quantised per channel, and only one scale is supported"
        raise RunnerError("unsupported", message)
    dtype = np.dtype(details["dtype"]).name
    has_scale = scales.size == 1 and dtype.lstrip("u").startswith("int")
    return TensorSpec(
        name=name,
        dtype=dtype,
        shape=tuple(int(size) for size in details["shape"]),
        scale=float(scales[0]) if has_scale else None,
        zero_point=int(quantised["zero_points"][0]) if has_scale else None,
    )
