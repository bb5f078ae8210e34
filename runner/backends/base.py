"""What a backend is: one way to execute a model inside this environment.

A backend is a module with `STACK`, the name of its software stack, `create(request) -> Backend` and
`probe() -> BackendProbe`; `runner.backends` finds it and imports it only when asked. A backend never
falls back to something else than it was asked for: it raises `RunnerError` of kind `unsupported` and
says what it can do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib import metadata
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Tuple,
)

from runner import refusals
from runner.errors import RunnerError
from runner.given_settings import free_value, listed_names
from runner.instruction_sets import NO_CEILING, OWN

if TYPE_CHECKING:
    import numpy as np

unsupported = refusals.unsupported
"""The refusal of a request, for backends."""

Shape = Tuple[Optional[int], ...]

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_DTYPES = ("float32", "float16", "float64", *_INTEGERS, "bool")
"""What answers may be made of."""

STAGES = ("host_to_device", "compute", "device_to_host")
"""What a call on another device than the CPU is made of."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: NumPy's name of its dtype; a dimension that is None is dynamic.

    `scale` and `zero_point` are set for a quantised tensor: real = (stored - zero_point) * scale.
    A shape of None means that the library does not say.
    """

    name: str
    dtype: str
    shape: Optional[Shape]
    scale: Optional[float] = None
    zero_point: Optional[int] = None

    def as_document(self) -> Dict[str, Any]:
        """The `tensor` object of the event `loaded`."""
        shape = None if self.shape is None else list(self.shape)
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": shape,
            "scale": self.scale,
            "zero_point": self.zero_point,
        }


@dataclass(frozen=True)
class LoadRequest:
    """What to load and how; `item_shape` is the shape of one input as it will be fed.

    With `keep_ir` the backend's own `keep_ir` will be called, where it has one: what it needs for that
    and would drop is to be held until then. So it is with `fingerprint`.

    `cache` is a folder of this cell alone that outlives the process: a library that keeps what it
    compiled, or what a tuner found, keeps it there and nowhere else. None: in the process's own
    folder, for this once; a worker always names one.
    """

    path: str
    format: str
    settings: Mapping[str, Any]
    precision: str
    device: str
    threads: int
    batch: int
    item_shape: Tuple[int, ...]
    keep_ir: bool = False
    instruction_set: str = OWN
    fingerprint: bool = False
    cache: Optional[str] = None


@dataclass(frozen=True)
class Description:
    """What was loaded, and in `ran` what really runs: versions, providers, effective settings.

    `ran["precision"]` is what was asked for. Where a library tells, `ran["computes_in"]` lists the
    dtypes that its kernels compute in, and `ran["operators"]` counts what it executes after its own
    optimisation, by kind and kernel: `{"Conv (CPUExecutionProvider)": 52}`, 64 entries at most.
    `ran["runs_in_compile"]` is how many whole inferences `compile` made.
    """

    input: TensorSpec
    outputs: Tuple[TensorSpec, ...]
    ran: Dict[str, Any]


@dataclass(frozen=True)
class Offer:
    """What a backend can be asked for.

    Attributes:
        settings: choices, each with its default first.
        names: settings that hold a list of names, such as `disabled_passes`, with every name there
            is. Not given is another thing than an empty list.
        free: settings that hold anything of a kind of `FREE_KINDS`; not given by default.
    """

    backend: str
    formats: Tuple[str, ...]
    precisions: Tuple[str, ...] = ("f32", "default")
    devices: Tuple[str, ...] = ("cpu",)
    settings: Mapping[str, Tuple[Any, ...]] = field(default_factory=dict)
    names: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    free: Mapping[str, str] = field(default_factory=dict)
    instruction_sets: Tuple[str, ...] = ()
    """Ceilings on the processor's instruction sets that it keeps to (`runner.instruction_sets`)."""

    def accept(self, request: LoadRequest) -> Dict[str, Any]:
        """The effective settings for a request.

        Lists of names are tuples in the order given, and None where they were not given; free
        settings are absent where they were not given.

        Raises:
            RunnerError: kind `unsupported`, naming what is asked for and what there is.
        """
        for what, asked, allowed in (
            ("format", request.format, self.formats),
            ("precision", request.precision, self.precisions),
            ("device", request.device, self.devices),
        ):
            if asked not in allowed:
                raise unsupported(self.backend, what, asked, allowed)
        self._accept_ceiling(request)
        known = (*self.settings, *self.names, *self.free)
        unknown = [name for name in request.settings if name not in known]
        if unknown:
            raise unsupported(self.backend, "setting", unknown[0], known)
        effective: Dict[str, Any] = {}
        for name, allowed in self.settings.items():
            value = request.settings.get(name, allowed[0])
            if not any(value == option and type(value) is type(option) for option in allowed):
                raise unsupported(self.backend, f"value of {name}", value, allowed)
            effective[name] = value
        for name, there in self.names.items():
            listed = request.settings.get(name)
            effective[name] = (
                None if listed is None else listed_names(self.backend, name, listed, there)
            )
        for name, kind in self.free.items():
            if request.settings.get(name) is not None:
                effective[name] = free_value(self.backend, name, kind, request.settings[name])
        return effective

    def _accept_ceiling(self, request: LoadRequest) -> None:
        """Refuse a ceiling that the library does not keep to, or that is of no use on a device."""
        asked, allowed = request.instruction_set, (OWN, *self.instruction_sets)
        if asked not in allowed:
            why = NO_CEILING.get(self.backend, "its library can't be told")
            raise unsupported(self.backend, "instruction set", asked, allowed, why=why)
        if asked != OWN and request.device != "cpu":
            what = f"instruction set on {request.device}"
            raise unsupported(self.backend, what, asked, (OWN,), why="a ceiling is for the CPU")

    def as_document(self) -> Dict[str, Any]:
        """The object `offer` of a backend's probe."""
        return {
            "precisions": list(self.precisions),
            "devices": list(self.devices),
            "instruction_sets": [OWN, *self.instruction_sets],
            "settings": {name: list(values) for name, values in self.settings.items()},
            "names": {name: list(values) for name, values in self.names.items()},
            "free": dict(self.free),
        }

    def ran(self, request: LoadRequest, settings: Dict[str, Any], package: str) -> Dict[str, Any]:
        """What every backend says of itself in `Description.ran`.

        One that makes whole inferences in `compile` puts their number in the place of 0.
        """
        version = installed_version(package)
        return {
            "backend": self.backend,
            "version": version,
            "versions": {package: version, "numpy": installed_version("numpy")},
            "device": request.device,
            "precision": request.precision,
            "threads": request.threads,
            "runs_in_compile": 0,
            "settings": dict(settings),
        }


@dataclass(frozen=True)
class BackendProbe:
    """Whether a backend works here; `detail` says why not.

    `providers` are those that the library lists, `started` those of them that ran something here,
    `refused` why each of the others did not. `builds` and `cpu_used` are by library: the versions
    of the parts inside it, and the processor features that it says it uses on this machine.
    `stack` is the module's own word and filled in by `runner.backends`; `offer` is what the backend
    can be asked for.
    """

    ok: bool
    stack: str = ""
    version: str = ""
    detail: str = ""
    formats: Tuple[str, ...] = ()
    providers: Tuple[str, ...] = ()
    started: Tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cpu_used: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    offer: Optional[Offer] = None

    def as_document(self) -> Dict[str, Any]:
        """The object under `backends` of the event `probe`."""
        return {
            "ok": self.ok,
            "stack": self.stack,
            "version": self.version,
            "detail": self.detail,
            "formats": list(self.formats),
            "offer": None if self.offer is None else self.offer.as_document(),
            "providers": list(self.providers),
            "started": list(self.started),
            "refused": dict(self.refused),
        }


def start_each(
    providers: Sequence[str], start: Callable[[str], Optional[str]]
) -> Tuple[Tuple[str, ...], Dict[str, str]]:
    """Start each provider by `start`, which gives None or why it did not; (started, refused).

    An exception is a reason too: a provider that fails must not hide those that work.
    """
    started, refused = [], {}
    for provider in providers:
        try:
            reason = start(provider)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        if reason is None:
            started.append(provider)
        else:
            refused[provider] = reason
    return tuple(started), refused


def stages_between(started: int, copied: int, computed: int, ended: int) -> Dict[str, int]:
    """Nanoseconds of each of `STAGES`, by the times at which they begin and end."""
    return dict(zip(STAGES, (copied - started, computed - copied, ended - computed)))


class Backend(Protocol):
    """The life of a loaded model: load, compile, run many times, close.

    Where a library can't tell loading from compiling, all of it is in `compile`.

    One whose library shows what it compiles a model to has `keep_ir(folder) -> None` besides. It is
    called once, where it was asked for, after `prove` and before anything is timed; it writes text or
    binary files into the folder and changes neither what runs nor how fast.

    One that can prove what it compiled a model to has `fingerprint(folder) -> document of a
    runner.fingerprints.Fingerprint` besides, under the same rules and called before `keep_ir`; the
    folder is scratch space.

    One for another device than the CPU that can tell copies from computing has
    `run_in_stages(batch) -> (outputs, nanoseconds of each of STAGES)` besides: what `run` does, with
    the device waited for, or its own events recorded, between the parts. It is never called in a
    round. A RunnerError of kind `unsupported` is the reason why this version can't, and the whole
    call is told as `compute` instead.
    """

    def load(self) -> None:
        """Read the model. RunnerError of kind `model` if the library refuses the file."""

    def compile(self) -> None:
        """Make it ready to run for the batch asked for.

        What compiles only when it is called is called here, and `ran["runs_in_compile"]` says how
        often: the first inference, which is timed after this, holds no compilation in any stack.
        """

    def describe(self) -> Description:
        """Called after `compile`."""

    def run(self, batch: np.ndarray) -> List[np.ndarray]:
        """One call: [B, ...] in the model's own dtype to its outputs, as the model gives them.

        This is what is timed, so it holds nothing that a user of the library would not do.
        """

    def prove(self, batch: np.ndarray) -> Dict[str, Any]:
        """Called once, after the first run: what shows where the model ran, for `ran`.

        Nothing on the CPU, where there is no other place that it could have run.

        Raises:
            RunnerError: kind `unsupported`, if any of it ran elsewhere than asked for.
        """

    def close(self) -> None:
        """Free what the library holds, and what lies on disk.

        Called once at any stage: a `load` or `compile` that failed leaves nothing to be freed but
        by this.
        """


def require_file(path: str) -> None:
    """Refuse what is no file by a RunnerError of kind `model`, before anything is set up for it."""
    if not os.path.isfile(path):
        raise RunnerError("model", f"no such model file: {path}")


def comparable(backend: str, name: str, dtype: str) -> str:
    """A tensor's dtype by NumPy's name, if answers can be made of it.

    Raises:
        RunnerError: kind `unsupported`, for what NumPy does not know (bfloat16, 8-bit floats) and
            for what is no real number (strings, complex numbers).
    """
    if dtype not in _DTYPES:
        why = "answers are compared as NumPy's real numbers; cast it in the model"
        raise unsupported(backend, f"dtype of {name}", dtype, _DTYPES, why=why)
    return dtype


def only_input(backend: str, names: List[str]) -> None:
    """Refuse a model that does not take exactly one input."""
    if len(names) != 1:
        raise RunnerError(
            "unsupported",
            f"{backend}: the model takes {len(names)} inputs ({', '.join(names)}) and a cell feeds "
            "exactly one; export a model with one input",
        )


def installed_version(package: str) -> str:
    """A distribution's version, or an empty string if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
