"""Parsing a model with TensorRT and building its engine, for TensorRT 8.6 to 11."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from runner import fingerprints
from runner.backends.base import Shape, only_input, unsupported
from runner.errors import RunnerError
from runner.fingerprints import Fingerprint
from runner.refusals import unknown_name
from runner.support.tally import tally

TYPING = ("auto", "strong", "weak")
OPTIMIZATION_LEVELS = (3, 0, 1, 2, 4, 5)
WORKSPACES_MIB = (0, 256, 1024, 4096)
"""0 leaves the limit to TensorRT: all the memory of the GPU."""

_STRONG_SINCE, _STRONG_ONLY_SINCE = 10, 11
_TIMINGS = "timing.cache"
_TACTIC_LETTERS = 96
_KEPT = 5


@dataclass
class Log:
    """What TensorRT said that was an error; the last ones."""

    errors: List[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Keep an error."""
        self.errors = [*self.errors, " ".join(text.split())[:500]][-_KEPT:]

    def said(self) -> str:
        """The errors in one line, or words for none."""
        return "; ".join(self.errors) or "it gave no reason"


class TimingCache:
    """The times of kernels that TensorRT measured, in a folder of the cell's own.

    A builder that finds them there does not measure again, and so chooses the same kernels.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, _TIMINGS)
        self.warm = os.path.isfile(self._path)

    def give(self, trt: Any, config: Any) -> None:
        """Let a build use what is there.

        Raises:
            RunnerError: kind `backend`, where it is damaged, or of another version or GPU.
        """
        content = b""
        if self.warm:
            with open(self._path, "rb") as file:
                content = file.read()
        cache = config.create_timing_cache(content)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            raise RunnerError(
                "backend",
                f"TensorRT {trt.__version__} refuses the timing cache {self._path}: remove it, and "
                "kernels are measured again",
            )

    def keep(self, config: Any) -> None:
        """Write what a build found, whole or not at all."""
        staged = f"{self._path}.{os.getpid()}"
        with open(staged, "wb") as file:
            file.write(bytes(config.get_timing_cache().serialize()))
        os.replace(staged, self._path)


def logger(trt: Any, log: Log) -> Any:
    """A logger that prints warnings and errors, and keeps the errors."""

    class Kept(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            known = trt.ILogger.Severity
            if severity in (known.ERROR, known.INTERNAL_ERROR):
                log.add(message)
            if severity in (known.ERROR, known.INTERNAL_ERROR, known.WARNING):
                print(f"TensorRT: {message}", flush=True)

    return Kept()


def major(trt: Any) -> int:
    """The first number of its version."""
    found = re.match(r"\d+", str(trt.__version__))
    return int(found.group()) if found else 0


def typing_of(trt: Any, wanted: str) -> str:
    """How a network's types are fixed: `strong` where this version can, unless `weak` is wanted.

    Raises:
        RunnerError: kind `unsupported`, for what this version does not have.
    """
    here = major(trt)
    there = ("weak",) if here < _STRONG_SINCE else ("strong", "weak")
    if here >= _STRONG_ONLY_SINCE:
        there = ("strong",)
    if wanted == "auto":
        return there[0]
    if wanted not in there:
        raise unsupported(
            "tensorrt", "value of typing", wanted, ("auto", *there), f"this is {trt.__version__}"
        )
    return wanted


def parse(trt: Any, builder: Any, log: Any, source: Any, typing: str) -> Any:
    """The network of an ONNX file (a path), or of its bytes.

    Raises:
        RunnerError: kind `unsupported` for operators that TensorRT does not have, else `model`.
    """
    known = trt.NetworkDefinitionCreationFlag
    flags = 0
    # Required before version 10, which took away the other kind; gone in 11.
    if major(trt) < 10:
        flags |= 1 << int(known.EXPLICIT_BATCH)
    if typing == "strong" and major(trt) < _STRONG_ONLY_SINCE:
        flags |= 1 << int(known.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    parsed = (
        parser.parse(source) if isinstance(source, bytes) else parser.parse_from_file(str(source))
    )
    if not parsed:
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        said = "; ".join(" ".join(str(error.desc()).split())[:300] for error in errors[:3])
        lacks = any("UNSUPPORTED" in str(error.code()) for error in errors)
        what = "a model" if isinstance(source, bytes) else str(source)
        raise RunnerError(
            "unsupported" if lacks else "model",
            f"TensorRT {trt.__version__} can't read {what}: {said or 'its parser gave no reason'}",
        )
    only_input("tensorrt", [network.get_input(i).name for i in range(network.num_inputs)])
    # The parser keeps weights that the network refers to.
    return network, parser


def build(
    trt: Any,
    builder: Any,
    network: Any,
    settings: Mapping[str, Any],
    fed: Tuple[int, ...],
    timings: Optional[TimingCache] = None,
) -> Any:
    """The plan of an engine for the shape `fed`, as TensorRT serialises it; None if it failed.

    Args:
        trt: the module.
        builder: of the network.
        network: what is to be built.
        settings: of the backend; `tf32` says whether TF32 may be used.
        fed: the shape of the input.
        timings: where measured times of kernels are kept; None: one build knows nothing of another.
    """
    config = builder.create_builder_config()
    config.builder_optimization_level = settings["builder_optimization_level"]
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if timings is None:
        config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
    else:
        timings.give(trt, config)
    sources = settings.get("tactic_sources")
    if sources is not None:
        mask = tactic_mask(trt, sources)
        # A version without this choice has its own kernels alone.
        if tactic_sources(trt):
            config.set_tactic_sources(mask)
    if not settings["tf32"]:
        config.clear_flag(trt.BuilderFlag.TF32)
    if settings["workspace_mib"]:
        size = settings["workspace_mib"] * 1024**2
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    entry = network.get_input(0)
    declared = shape_of(entry.shape)
    if declared is not None and None in declared:
        shape = fixed(declared, fed)
        profile = builder.create_optimization_profile()
        profile.set_shape(entry.name, shape, shape, shape)
        if int(config.add_optimization_profile(profile)) < 0:
            raise RunnerError(
                "model",
                f"tensorrt: {entry.name} is {list(entry.shape)} and can't be fixed to {list(shape)}",
            )
    plan = builder.build_serialized_network(network, config)
    if timings is not None and plan is not None:
        timings.keep(config)
    return plan


def tactic_sources(trt: Any) -> Tuple[str, ...]:
    """The libraries that this version may take kernels from, by TensorRT's names."""
    members = getattr(getattr(trt, "TacticSource", None), "__members__", {})
    return tuple(sorted(members))


def tactic_mask(trt: Any, sources: Iterable[str]) -> int:
    """The sources as TensorRT takes them: a bit for each.

    Raises:
        RunnerError: kind `unsupported`, for a source that this version does not have.
    """
    there = tactic_sources(trt)
    mask = 0
    for name in sources:
        if name not in there:
            raise unknown_name("tensorrt", "tactic_sources", name, there)
        mask |= 1 << int(getattr(trt.TacticSource, name))
    return mask


def fingerprint(trt: Any, engine: Any, weights: bytes, size_bytes: int) -> Fingerprint:
    """What an engine is made of, by its inspector: layers, their kernels, formats and precision.

    The plan's own bytes won't do: they differ between two builds of one form. The weights that the
    inspector does not show are those of the file.

    Args:
        trt: the module.
        engine: built with detailed verbosity.
        weights: the model's file, or a hash of it.
        size_bytes: of the plan.

    Raises:
        RunnerError: kind `unsupported`, where the inspector of this version does not tell.
    """
    told = _inspected(trt, engine)
    if not told:
        message = f"the inspector of TensorRT {trt.__version__} does not tell an engine's layers"
        raise RunnerError("unsupported", message)
    lines = [json.dumps(layer, sort_keys=True) for layer in told]
    return fingerprints.of_lines(
        "engine", lines, [weights], operators=_counted(told), code_bytes=size_bytes
    )


def fixed(declared: Optional[Shape], fed: Tuple[int, ...]) -> Tuple[int, ...]:
    """What is declared, and where that is open what is fed."""
    if declared is None or len(declared) != len(fed):
        return fed
    return tuple(got if size is None else size for size, got in zip(declared, fed))


def shape_of(sizes: Any) -> Optional[Shape]:
    """A shape of TensorRT's, -1 being open; None where not even its rank is known."""
    try:
        rank = len(sizes)
    except ValueError:
        # TensorRT says -1, and Python refuses it.
        return None
    return tuple(None if int(sizes[i]) < 0 else int(sizes[i]) for i in range(rank))


def layers(trt: Any, engine: Any) -> Dict[str, int]:
    """The engine's layers by type and tactic, by its inspector; empty where it does not tell."""
    return _counted(_inspected(trt, engine))


def _counted(told: List[Any]) -> Dict[str, int]:
    return tally(_kind(layer) for layer in told if isinstance(layer, dict))


def _inspected(trt: Any, engine: Any) -> List[Any]:
    """The inspector's description of each layer, in the order in which they run."""
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        return list(json.loads(text).get("Layers", []))
    except (ValueError, AttributeError):
        return []


def _kind(layer: Dict[str, Any]) -> str:
    kind = str(layer.get("LayerType", "?"))
    tactic = str(layer.get("TacticName", "") or "")[:_TACTIC_LETTERS]
    return f"{kind} ({tactic})" if tactic else kind
