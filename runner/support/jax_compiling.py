"""How JAX is told to compile by settings, what it says of it, and what came of it.

The settings of `runner.backends.jax` become options of one compilation, so that nothing else in the
process is compiled by them. This module imports no JAX before something is compiled.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from runner.backends.base import Offer, unsupported
from runner.errors import RunnerError, classify
from runner.fingerprints import Fingerprint
from runner.instruction_sets import HONOURED
from runner.refusals import unknown_name
from runner.support import jax_archive, xla_ceiling, xla_form, xla_passes

_CPU = ("jaxlib",)
_GPU = ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")
"""The packages whose libraries compile for each; the first that is installed."""

_LEVEL = "xla_backend_optimization_level"
_ONLY_CPU = ("ynnpack",)
_OWNED = {_LEVEL: "optimization_level", xla_ceiling.YNNPACK: "ynnpack"}
_HIT, _MISS = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"


def offer() -> Offer:
    """What the installed version can be asked for."""
    names = tuple(sorted({*passes(on_gpu=False), *passes(on_gpu=True)}))
    return Offer(
        backend="jax",
        formats=("jax",),
        devices=("cpu", "cuda"),
        instruction_sets=HONOURED["jax"],
        settings={
            "weights": ("arguments", "constants"),
            "matmul_precision": ("auto", *jax_archive.PRECISIONS),
            "ynnpack": (True, False),
            "optimization_level": (3, 2, 1, 0),
        },
        names={xla_passes.DISABLED: names, xla_passes.ONLY: names},
        free=xla_passes.FREE,
    )


def passes(*, on_gpu: bool) -> Tuple[str, ...]:
    """The optional passes of the XLA that compiles for a device."""
    for package in _GPU if on_gpu else _CPU:
        found = xla_passes.passes(package, gpu=on_gpu)
        if found:
            return found
    return ()


def options(settings: Mapping[str, Any], *, on_gpu: bool) -> Dict[str, Any]:
    """XLA's options for what is not its own default.

    Raises:
        RunnerError: kind `unsupported`, for a setting of the CPU alone on the GPU, for a pass of
            another device, and for flags that this XLA does not know.
    """
    if on_gpu:
        for name in _ONLY_CPU:
            if not settings[name]:
                raise unsupported("jax", f"value of {name} on the GPU", settings[name], (True,))
    there = passes(on_gpu=on_gpu)
    for setting in (xla_passes.DISABLED, xla_passes.ONLY):
        for name in settings.get(setting) or ():
            if name not in there:
                raise unknown_name("jax", f"{setting} on this device", name, there)
    # The flags are those of one program on every device: jaxlib has them all.
    given = settings.get(xla_passes.FLAGS)
    flags = xla_passes.checked_flags("jax", "jaxlib", given, besides=_OWNED)
    told: Dict[str, Any] = {}
    if not settings["ynnpack"]:
        told[xla_ceiling.YNNPACK] = ""
    if settings["optimization_level"] != 3:
        told[_LEVEL] = settings["optimization_level"]
    disabled = xla_passes.to_disable("jax", settings, there)
    return {**told, **xla_passes.as_options(disabled, flags)}


class CacheCount:
    """Whether JAX found a compilation in its cache; it counts from when it is made."""

    def __init__(self) -> None:
        self._seen: List[str] = []

    def listen(self, jax: Any) -> None:
        """Count what JAX tells from now on."""
        monitoring = getattr(jax, "monitoring", None)
        if monitoring is not None:
            monitoring.register_event_listener(self._note)

    def told(self) -> str:
        """`hit`, `miss`, or `unknown` where JAX said neither."""
        # One compilation may look for parts that it makes anew, after it was found itself.
        if _HIT in self._seen:
            return "hit"
        return "miss" if _MISS in self._seen else "unknown"

    def _note(self, event: str, **_: Any) -> None:
        if event in (_HIT, _MISS):
            self._seen.append(event)


def error_of(error: Exception) -> RunnerError:
    """Why a compilation failed, in terms of what was asked for."""
    text = " ".join(str(error).split())
    if "No such compile option" in text:
        message = f"this version of XLA can't: {text[:500]}; use another version or the default"
        return RunnerError("unsupported", message, classify(error).detail)
    if "While setting option" in text:
        message = f"XLA refuses the value of a flag: {text[:500]}"
        return RunnerError("unsupported", message, classify(error).detail)
    if "was exported for" in text:
        message = (
            f"this version of JAX can't call the function: {text[:500]}; convert the model in "
        )
        return RunnerError("unsupported", message + "this environment", classify(error).detail)
    return classify(error)


def cost(compiled: Any) -> Dict[str, int]:
    """XLA's own estimate for one call; empty where it has none."""
    try:
        said = compiled.cost_analysis()
    except Exception as error:
        print(f"runner: XLA gives no cost analysis: {error!r}", flush=True)
        return {}
    # A list of one before JAX 0.4.36.
    first = said[0] if isinstance(said, (list, tuple)) and said else said
    named = {"flops": "flops", "bytes accessed": "bytes_accessed"}
    return {ours: int(first[name]) for name, ours in named.items() if first and name in first}


def fingerprint(
    lowered: Any,
    compiled: Any,
    given: Mapping[str, Any],
    called_with: Iterable[Any],
    folder: str,
    about: Sequence[str] = (),
) -> Fingerprint:
    """What a function was compiled to, by compiling it once more to have it dumped.

    Args:
        lowered: a `jax.stages.Lowered`.
        compiled: the `jax.stages.Compiled` that runs.
        given: the options that it was compiled with.
        called_with: arrays that it takes with each call, and bytes that count too.
        folder: an empty one.
        about: flags that may say how it is run.

    Raises:
        RunnerError: kind `backend`, where this XLA shows nothing, or made another program of the
            same function: there is then no one form that could be told.
    """
    text = compiled.as_text()
    modules = compiled.runtime_executable().hlo_modules()
    if not text or not modules:
        raise RunnerError("backend", "this version of XLA does not show what it compiles to")
    wanted = {**given, **xla_form.DUMP_OPTIONS, "xla_dump_to": folder}
    with _without_cache():
        again = lowered.compile(compiler_options=wanted)
    if not xla_form.same_program(text, again.as_text()):
        raise RunnerError("backend", "XLA made two different programs of the same function")
    module = b"".join(one.as_serialized_hlo_module_proto() for one in modules)
    return xla_form.fingerprint(text, module, folder, _as_constants(called_with), about)


def running(settings: Mapping[str, Any]) -> List[str]:
    """Those of XLA's flags that were given and may say how a program is run, not what it is."""
    flags = settings.get(xla_passes.FLAGS) or {}
    return xla_form.running(" ".join(f"--{name}={value}" for name, value in flags.items()))


def flags_told(settings: Mapping[str, Any]) -> bytes:
    """XLA's flags that were given, for a fingerprint that does not show all that they do."""
    return json.dumps(settings.get(xla_passes.FLAGS) or {}, sort_keys=True).encode()


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Meanwhile JAX compiles anew: what it takes from its cache it does not dump."""
    import jax

    before = jax.config.jax_compilation_cache_dir
    _use_cache(None)
    try:
        yield
    finally:
        _use_cache(before)


def _use_cache(folder: Any) -> None:
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", folder)
    # JAX looks once whether there is a cache, and remembers.
    compilation_cache.reset_cache()


def _as_constants(values: Iterable[Any]) -> Sequence[Any]:
    return [value if isinstance(value, bytes) else np.asarray(value) for value in values]
