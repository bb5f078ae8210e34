"""What the converters that optimise ONNX files do alike: passes by name, and what they changed.

A pass that brings the process down ends the conversion, which is recorded as that; a model that is not
valid afterwards, or that does not run, is refused. What a pass does to answers is measured, not judged.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence, Tuple

from runner.errors import RunnerError, classify
from runner.given_settings import listed_names
from runner.jobs import ConvertJob
from runner.support import conversion, onnx_steps, onnx_structure

OPTIONS = (*conversion.OPTIONS, "passes", "disabled_passes")
"""What a job may say."""

Optimise = Callable[[Any, Tuple[str, ...]], Any]
"""An `onnx.ModelProto` by these passes."""


def chosen(
    job: ConvertJob, name: str, there: Sequence[str], unasked: Sequence[str]
) -> Tuple[str, ...]:
    """The passes that are to run, in the order asked for, else in the tool's own.

    Args:
        job: whose options name them.
        name: the converter's.
        there: every pass of the tool.
        unasked: those that it runs by itself.

    Raises:
        RunnerError: kind `unsupported`, for a name that the tool does not have (which it may ignore),
            one that it would not have run anyway, or both options.
    """
    only, without = job.options.get("passes"), job.options.get("disabled_passes")
    if only is not None and without is not None:
        message = f"{name}: passes and disabled_passes exclude each other: give one of the two"
        raise RunnerError("unsupported", message)
    if only is not None:
        return listed_names(name, "passes", only, there)
    left_out = listed_names(name, "disabled_passes", without or [], unasked)
    return tuple(one for one in unasked if one not in left_out)


def optimise(
    job: ConvertJob, name: str, passes: Tuple[str, ...], run: Optimise, packages: Sequence[str]
) -> Dict[str, Any]:
    """Write `job.target`; the fields of the event `converted`.

    Args:
        job: what to convert.
        name: the converter's.
        passes: those that are to run.
        run: the tool.
        packages: distributions that have a part in it.

    Raises:
        RunnerError: `model` if the source can't be read; `conversion` if a pass fails, or what was
            made is not valid, not portable, does not run or is not finite.
    """
    batch, item_shape = conversion.options_of(job, name, OPTIONS)
    source = conversion.read_onnx(job, name)
    fed = conversion.seeded_input(source, batch, item_shape, name)
    before = _structure(source)
    try:
        model = run(_copied(source), passes)
    except Exception as error:
        failed = classify(error, "conversion")
        message = f"{name}: it fails by the passes {', '.join(passes) or 'none'}: {failed.message}"
        raise RunnerError(failed.kind, message, failed.detail) from error
    with conversion.written(job.target, ".onnx") as part:
        onnx_steps.make_portable(model, source, name)
        onnx_steps.save(model, part, name)
        difference = onnx_steps.difference(job, part, source, fed, written=model)
    after = _structure(model)
    told = conversion.converted(job.target, packages, difference)
    told["graph"] = {
        "changed": before.sha256 != after.sha256,
        "sha256_before": before.sha256,
        "sha256_after": after.sha256,
        "passes": list(passes),
        "operators_before": dict(before.operators),
        "operators_after": dict(after.operators),
    }
    return told


def _structure(model: Any) -> onnx_structure.Structure:
    return onnx_structure.read(memoryview(model.SerializeToString()))


def _copied(model: Any) -> Any:
    """A copy, for a tool that may write into what it is given."""
    copy = type(model)()
    copy.CopyFrom(model)
    return copy
