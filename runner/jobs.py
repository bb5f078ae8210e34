"""The job document: read, checked, and turned into values. See `schemas/job.json`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple, Union

from runner.documents import check, parse
from runner.errors import RunnerError
from runner.instruction_sets import OWN
from runner.prepare_jobs import CorruptJob, PrepareJob, read_prepare

SOCKET_PATH_BYTES = 107
"""What `sockaddr_un` holds on Linux, less the closing zero."""

MAX_OUTPUT_BYTES = 2 * 1024**3

PerChannel = Union[float, Tuple[float, ...]]
Axes = Optional[Tuple[int, ...]]
"""A transposition as `numpy.transpose` takes it; None: none."""


@dataclass(frozen=True)
class ProbeJob:
    """Say what this environment is and which of the backends and preprocessors work in it.

    None: all there are. With all preprocessors come the libraries for corruptions.
    """

    work: str
    backends: Optional[Tuple[str, ...]]
    preprocessors: Optional[Tuple[str, ...]] = ()
    threads: int = 1
    parent_death_signal: bool = False


@dataclass(frozen=True)
class Normalise:
    """y = (x / divide - subtract) / divide_after, on channels in the order `channels`."""

    channels: str
    divide: PerChannel
    subtract: PerChannel
    divide_after: PerChannel


@dataclass(frozen=True)
class Inputs:
    """The prepared `.npy` file, and how a row of it becomes what the model takes."""

    kind: str
    path: str
    count: int
    normalise: Optional[Normalise] = None
    layout: Optional[str] = None
    raw_quantised: bool = False
    swap_sides: bool = False


@dataclass(frozen=True)
class Calibration:
    """Inputs that a converter may look at to choose the ranges of integers.

    Attributes:
        inputs: the prepared file.
        rows: which of its rows, by number.
        input_axes: how what is fed to the first model of a chain is transposed to become what the
            source of this step takes.
    """

    inputs: Inputs
    rows: Tuple[int, ...]
    input_axes: Axes = None


@dataclass(frozen=True)
class ConvertJob:
    """Make `target` from `source` by one converter."""

    work: str
    converter: str
    source: str
    source_format: str
    target: str
    options: Dict[str, Any] = field(default_factory=dict)
    calibration: Optional[Calibration] = None
    threads: int = 1
    parent_death_signal: bool = False


@dataclass(frozen=True)
class InferJob:
    """Load a model, then take commands on `socket`, or do those that the job brings."""

    work: str
    backend: str
    model_path: str
    model_format: str
    inputs: Inputs
    socket: Optional[str] = None
    commands: Optional[Tuple[Dict[str, Any], ...]] = None
    settings: Dict[str, Any] = field(default_factory=dict)
    precision: str = "f32"
    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    max_output_bytes: int = MAX_OUTPUT_BYTES
    softmax: bool = False
    input_axes: Axes = None
    output_axes: Optional[Tuple[Axes, ...]] = None
    keep_ir: bool = False
    instruction_set: str = OWN
    fingerprint: bool = False
    cache: Optional[str] = None
    parent_death_signal: bool = False


Job = Union[ProbeJob, ConvertJob, PrepareJob, CorruptJob, InferJob]


def read_job(text: str) -> Job:
    """The job in a document.

    Raises:
        RunnerError: kind `job` for a document that is truncated or wrong; `unsupported` for the
            reserved kind `export`.
    """
    document = parse(text, "the job document")
    if document.get("kind") == "export":
        raise RunnerError(
            "unsupported",
            "jobs of kind 'export' are reserved and not built yet; use probe, convert, prepare, "
            "infer",
        )
    check(document, "job", "kind")
    common = {
        "work": document["work"],
        "threads": document.get("threads", 1),
        "parent_death_signal": document.get("parent_death_signal", False),
    }
    if document["kind"] == "probe":
        named = document["backends"]
        wanted = document.get("preprocessors", None if named is None else [])
        return ProbeJob(
            backends=None if named is None else tuple(named),
            preprocessors=None if wanted is None else tuple(wanted),
            **common,
        )
    if document["kind"] == "convert":
        return ConvertJob(
            converter=document["converter"],
            source=document["source"]["path"],
            source_format=document["source"]["format"],
            target=document["target"],
            options=document.get("options", {}),
            calibration=_read_calibration(document.get("calibration")),
            **common,
        )
    if document["kind"] == "prepare":
        return read_prepare(document, common)
    return _read_infer(document, common)


def _read_infer(document: Dict[str, Any], common: Dict[str, Any]) -> InferJob:
    if ("socket" in document) == ("commands" in document):
        message = "job: give either 'socket' (commands come over it) or 'commands' (do these)"
        raise RunnerError("job", message)
    commands = document.get("commands")
    for index, command in enumerate(commands or ()):
        check(command, "command", "command", f"job.commands[{index}]")
    if "socket" in document:
        _check_socket(document["socket"])
    names = (
        "backend",
        "settings",
        "precision",
        "device",
        "batch",
        "max_output_bytes",
        "softmax",
        "keep_ir",
        "instruction_set",
        "fingerprint",
        "cache",
    )
    return InferJob(
        model_path=document["model"]["path"],
        model_format=document["model"]["format"],
        inputs=_read_inputs(document["inputs"]),
        socket=document.get("socket"),
        commands=None if commands is None else tuple(commands),
        input_axes=_axes(document.get("input_axes"), "job.input_axes"),
        output_axes=_each_axes(document.get("output_axes")),
        **{name: document[name] for name in names if name in document},
        **common,
    )


def _read_calibration(document: Optional[Dict[str, Any]]) -> Optional[Calibration]:
    if document is None:
        return None
    inputs = _read_inputs(document["inputs"], "job.calibration.inputs")
    rows = tuple(document["rows"])
    if max(rows) >= inputs.count:
        message = f"job.calibration.rows: row {max(rows)} of inputs that hold {inputs.count}"
        raise RunnerError("job", message)
    return Calibration(inputs, rows, _axes(document.get("input_axes"), "job.calibration"))


def _each_axes(value: Optional[List[Any]]) -> Optional[Tuple[Axes, ...]]:
    if value is None:
        return None
    return tuple(_axes(one, f"job.output_axes[{index}]") for index, one in enumerate(value))


def _axes(value: Optional[List[int]], where: str) -> Axes:
    if value is None:
        return None
    if sorted(value) != list(range(len(value))) or value[0] != 0:
        message = f"{where}: {value} is no transposition that leaves the batch first"
        raise RunnerError("job", message)
    return tuple(value)


def _check_socket(path: str) -> None:
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES:
        raise RunnerError(
            "job",
            f"job.socket: the path is {size} bytes and a Unix socket holds {SOCKET_PATH_BYTES}: "
            f"{path}; use a short temporary folder",
        )


def _read_inputs(document: Dict[str, Any], where: str = "job.inputs") -> Inputs:
    normalise = document.get("normalise")
    if normalise is not None and document["kind"] == "array":
        message = f"{where}.normalise: arrays are fed as they are; it must be null"
        raise RunnerError("job", message)
    if document.get("swap_sides", False) and document["kind"] == "array":
        message = f"{where}.swap_sides: arrays are fed as they are; only pixels have sides"
        raise RunnerError("job", message)
    return Inputs(
        kind=document["kind"],
        path=document["path"],
        count=document["count"],
        normalise=None if normalise is None else _read_normalise(normalise, f"{where}.normalise"),
        layout=document.get("layout"),
        raw_quantised=document.get("raw_quantised", False),
        swap_sides=document.get("swap_sides", False),
    )


def _read_normalise(document: Dict[str, Any], where: str) -> Normalise:
    values = {}
    for name in ("divide", "subtract", "divide_after"):
        value = document[name]
        values[name] = tuple(map(float, value)) if isinstance(value, list) else float(value)
        if name != "subtract" and 0.0 in (value if isinstance(value, list) else [value]):
            raise RunnerError("job", f"{where}.{name}: can't divide by zero")
    return Normalise(channels=document["channels"], **values)
