"""What the steps from ONNX to ONNX do alike: keep the file portable, run it, tell how it differs.

A step's own result stays one file of ONNX's own operators, as far as its source was one: what a tool
adds for itself (operators of a vendor's domain) is refused, and domains that nothing uses are dropped.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Optional, Set

import numpy as np

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import conversion, onnx_model, onnxruntime_model

PACKAGES = ("onnxruntime", "onnx", "numpy")

_FEW = 4


def import_onnxruntime() -> Any:
    """The module onnxruntime, which would start a thread for telemetry from version 1.29 on."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph, those of the graphs inside its nodes too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            inside = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for inner in inside:
                yield from nodes(inner)


def count(model: Any, *kinds: str) -> int:
    """How many of a model's nodes are of these kinds."""
    return sum(node.op_type in kinds for node in nodes(model.graph))


def make_portable(model: Any, source: Any, name: str) -> None:
    """Drop the domains that nothing in a model uses.

    Raises:
        RunnerError: kind `conversion`, if it uses one besides ONNX's own that its source did not.
    """
    used = _domains(model)
    foreign = used - _domains(source) - set(onnx_model.STANDARD)
    if foreign:
        kinds = {node.op_type for node in nodes(model.graph) if node.domain in foreign}
        raise RunnerError(
            "conversion",
            f"{name}: what was made uses operators of {', '.join(sorted(foreign))} "
            f"({', '.join(sorted(kinds))}), which ONNX does not define and other stacks do not "
            "know: leave this step away for this model",
        )
    kept = [o for o in model.opset_import if o.domain in used or o.domain in onnx_model.STANDARD]
    kept = [_copied(one) for one in kept]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def save(model: Any, path: str, name: str) -> None:
    """Check a model by ONNX's own rules, shapes and types included, and write it as one file.

    Raises:
        RunnerError: kind `conversion`, with the checker's words; `unsupported` above 2 GiB.
    """
    import onnx

    try:
        onnx.save(model, path)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: the model can't be written as one file: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: what was made is no valid ONNX: {failed.message}"
        raise RunnerError("conversion", message, failed.detail) from error


def difference(
    job: ConvertJob, made: str, source: Any, fed: np.ndarray, *, written: Optional[Any] = None
) -> Optional[float]:
    """Run what was made, refuse it if it is not finite, and compare it with its source.

    Args:
        job: whose source it is.
        made: the file.
        source: the source as `onnx.ModelProto`.
        fed: the input for both.
        written: what was made, as `onnx.ModelProto`, where ONNX's reference evaluator may take the
            place of an ONNX Runtime that is too old for it.

    Raises:
        RunnerError: kind `conversion`, if it does not run, or an output is lost, of another shape
            or not finite.
    """
    got: Optional[List[np.ndarray]]
    evaluated = False
    try:
        got = run(made, fed, job.threads)
    except RunnerError as error:
        if written is None or error.kind != "unsupported":
            words = f"what was made does not run: {error.message}"
            raise RunnerError("conversion", words, error.detail) from error
        got, evaluated = conversion.reference_outputs(written, fed), True
        if got is None:
            raise
    conversion.check_finite(got)
    try:
        expected: Optional[List[np.ndarray]] = run(job.source, fed, job.threads)
    except RunnerError as error:
        print(f"runner: the source is run by ONNX's reference evaluator: {error.message}")
        expected, evaluated = conversion.reference_outputs(source, fed), True
    conversion.require_alike(expected, got, sizes=not evaluated)
    return conversion.largest_difference(expected, got)


def run(path: str, fed: np.ndarray, threads: int) -> List[np.ndarray]:
    """All outputs of a model by ONNX Runtime on the CPU.

    Raises:
        RunnerError: as the backend `onnxruntime` refuses a file; `backend` if the call fails, or if
            it takes no input or several.
    """
    ort = import_onnxruntime()
    session = open_session(path, _options(ort, threads))
    names = [node.name for node in session.get_inputs()]
    if len(names) != 1:
        told = ", ".join([*names[:_FEW], *(["…"] if len(names) > _FEW else [])]) or "none"
        message = f"{len(names)} inputs are to be fed ({told}), and there is one"
        raise RunnerError("backend", message)
    try:
        outputs: List[Any] = session.run(None, {names[0]: fed})
    except Exception as error:
        raise classify(error, "backend") from error
    return [np.asarray(output) for output in outputs]


def open_session(path: str, options: Any) -> Any:
    """A session on the CPU.

    Raises:
        RunnerError: `unsupported` or `model`, by what ONNX Runtime said.
    """
    ort = import_onnxruntime()
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise onnxruntime_model.load_error(error, ort.__version__, path) from error


def basic_options(threads: int) -> Any:
    """Options of a session that folds constants and rewrites the graph in ONNX's own operators."""
    ort = import_onnxruntime()
    options = _options(ort, threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return options


def _options(ort: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return options


def _domains(model: Any) -> Set[str]:
    used = {node.domain for node in nodes(model.graph)}
    for function in model.functions:
        used.add(function.domain)
        used.update(node.domain for node in function.node)
    return used


def _copied(opset: Any) -> Any:
    copy = type(opset)()
    copy.CopyFrom(opset)
    return copy


def kinds_of(model: Any) -> Dict[str, int]:
    """How many nodes a model has of each kind."""
    found: Dict[str, int] = {}
    for node in nodes(model.graph):
        found[node.op_type] = found.get(node.op_type, 0) + 1
    return found
