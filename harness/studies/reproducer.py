"""Writes a reproducer: what to attach to a bug report, and what runs it in fresh environments."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from harness.canonical import storage_errors
from harness.environments.environment import Environment
from harness.errors import UsageError
from harness.paths import runner_tree
from harness.studies.bisect_operators import ROUNDING_NOTE
from harness.studies.programs import Asked, program

Array = npt.NDArray[Any]

SCRIPT, MODEL, INPUT, README = "reproduce.py", "subgraph.onnx", "input.npy", "README.md"
RUNNER = "runner"

_HEAD = """\
{quotes}{title}

{how}
{quotes}
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent

"""
_SIDE = """\
def {name}(x):  # {label}
    {body}

"""
_TAIL = """
side = sys.argv[1]
np.save(HERE / f"output-{{side}}.npy", {{"a": a, "b": b}}[side](np.load(HERE / "{input}")))
files = [HERE / "output-a.npy", HERE / "output-b.npy"]
if all(file.exists() for file in files):
    p, q = (np.load(file).astype(np.float64) for file in files)
    apart, fine = np.inf, np.isfinite(p)
    odd = [np.where(np.isfinite(values), 0, values) for values in (p, q)]
    if np.array_equal(*odd, equal_nan=True):
        most, size = (np.abs(x).max(initial=0) for x in (p[fine] - q[fine], p[fine]))
        apart = most and (most / size if size else np.inf)
    print(f"a and b differ by {{apart:.3g}} of the largest number ({said})")
    sys.exit(int(not apart >= {bound:.3g}))
"""
_QUOTES = '"' * 3


@dataclass(frozen=True)
class ReproducedSide:
    """One side of a reproducer.

    Attributes:
        label: what to call it.
        asked: how it runs the part.
        environment: where.
        packages: what was installed there, for an environment without a lock.
        executed: the file that it executes, where that is not the ONNX part itself.
    """

    label: str
    asked: Asked
    environment: Environment | None
    packages: Mapping[str, str] = field(default_factory=dict)
    executed: Path | None = None

    @property
    def requirements(self) -> Path | None:
        """The lock of its environment; None for one that has none."""
        return self.environment.lock_path if self.environment else None


@dataclass(frozen=True)
class Shown:
    """What the reproducer shows.

    Attributes:
        headline: the guilty operators, in one line.
        difference: of the outputs, relative; None where B fails.
        bound: from where on it counts as shown.
        failure: kind of B's failure; None where both answer.
        model: what the part was cut from.
        image: which image it was fed.
        start: the tensor that is fed.
        end: the tensor that is given.
        frozen: how many inner tensors are frozen into the part.
        rounding: whether the difference is no more than float32's rounding.
    """

    headline: str
    difference: float | None
    bound: float
    failure: str | None
    model: str
    image: str
    start: str
    end: str
    frozen: int = 0
    rounding: bool = False


def check_folder(folder: Path) -> None:
    """See that a reproducer can be written to a folder: a new one, or an empty one.

    Raises:
        UsageError: something is there already, or a file is in the way.
    """
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UsageError(f"{there} is no folder.", "Name a new folder with --out.")
    if there == folder and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty.", "Name a new folder with --out.")


def write_reproducer(
    folder: Path,
    model: Any,
    fed: Array,
    sides: tuple[ReproducedSide, ReproducedSide],
    shown: Shown,
) -> list[str]:
    """Write the folder: model, input, script, requirements, README; the names of its files.

    Raises:
        UsageError: something is there already.
        StoreError: it cannot be written.
    """
    check_folder(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(folder / MODEL))
        np.save(folder / INPUT, fed)
        for side in sides:
            if side.executed is not None:
                _copy(side.executed, folder / side.asked.file)
        text, runner = script(sides, shown)
        (folder / SCRIPT).write_text(text, encoding="utf-8")
        if runner:
            shutil.copytree(runner_tree()[0] / RUNNER, folder / RUNNER)
        for name, content in requirements(sides).items():
            (folder / name).write_text(content, encoding="utf-8")
        (folder / README).write_text(readme(sides, shown, runner=runner), encoding="utf-8")
    return sorted(path.relative_to(folder).as_posix() for path in folder.iterdir())


def script(sides: tuple[ReproducedSide, ReproducedSide], shown: Shown) -> tuple[str, bool]:
    """The text of `reproduce.py`, and whether it needs the runner beside it."""
    bodies = [program(side.asked) for side in sides]
    functions = "".join(
        _SIDE.format(name=name, label=side.label, body="\n    ".join(lines))
        for name, side, (lines, _) in zip("ab", sides, bodies, strict=True)
    )
    said = f"seen: {_said(shown)}"
    return (
        _HEAD.format(
            quotes=_QUOTES,
            title=_plain(f"{shown.headline}: {_said(shown)}."),
            how=_how(sides),
        )
        + functions
        + _TAIL.format(said=_plain(said), bound=shown.bound, input=INPUT)
    ), any(runner for _, runner in bodies)


def requirements(sides: Sequence[ReproducedSide]) -> dict[str, str]:
    """The files that say what to install, by name: one where both sides are the same environment."""
    found = {}
    for name, side in zip(file_names(sides), sides, strict=True):
        if name in found:
            continue
        if side.requirements is not None:
            found[name] = side.requirements.read_text(encoding="utf-8")
        else:
            found[name] = "".join(f"{p}=={v}\n" for p, v in sorted(side.packages.items()))
    return found


def file_names(sides: Sequence[ReproducedSide]) -> tuple[str, str]:
    """What the requirements of each side are called."""
    a, b = (side.requirements for side in sides)
    if a is not None and a == b:
        return "requirements.txt", "requirements.txt"
    return "requirements-a.txt", "requirements-b.txt"


def readme(sides: tuple[ReproducedSide, ReproducedSide], shown: Shown, *, runner: bool) -> str:
    """What happened, how to see it, and in what."""
    files = file_names(sides)
    lines = [
        f"# {shown.headline}",
        "",
        f"Cut out of the model {shown.model}, between its tensors `{shown.start}` and "
        f"`{shown.end}`, and fed what the model computes there for {shown.image}. {_verdict(shown)}",
        "",
        "| | what runs | Python | packages |",
        "|---|---|---|---|",
    ]
    for name, side, file in zip("ab", sides, files, strict=True):
        python = side.environment.python if side.environment else "?"
        asked = side.asked
        settings = ", ".join(f"{k}={v}" for k, v in asked.settings.items()) or "no settings"
        lines.append(
            f"| {name} | {asked.backend}, {settings}, precision {asked.precision}, "
            f"{asked.threads} thread{'' if asked.threads == 1 else 's'} | {python} | `{file}` |"
        )
    if shown.rounding:
        lines += ["", f"Note: {ROUNDING_NOTE}."]
    lines += ["", "To see it:", "", "```", *_commands(files, sides), "```", ""]
    if shown.frozen:
        lines.append(
            f"{shown.frozen} other tensor{'s' if shown.frozen > 1 else ''} of the model that the "
            "part reads hold what they held there, as constants."
        )
    if runner:
        lines.append(
            "`runner/` is the part of the harness that runs a model (standard library and NumPy): "
            "the script takes it for what it has no lines of its own for."
        )
    for name, side in zip("ab", sides, strict=True):
        index = _indexes(side)
        if index:
            lines.append(f"Packages of {name} come from the public index and from {index}.")
        if side.environment is not None and side.requirements is None:
            lines.append(
                f"{name} ran in {side.environment.reference}, which no lock describes; "
                "its file lists what was installed."
            )
    return "\n".join(lines).rstrip() + "\n"


def _commands(files: tuple[str, str], sides: Sequence[ReproducedSide]) -> list[str]:
    first = _environment("venv-a" if files[0] != files[1] else "venv", files[0], sides[0])
    if files[0] == files[1]:
        return [*first, f"venv/bin/python {SCRIPT} a", f"venv/bin/python {SCRIPT} b"]
    second = _environment("venv-b", files[1], sides[1])
    return [
        *first, *second, f"venv-a/bin/python {SCRIPT} a", f"venv-b/bin/python {SCRIPT} b",
    ]  # fmt: skip


def _environment(folder: str, file: str, side: ReproducedSide) -> list[str]:
    python = ".".join(side.environment.python.split(".")[:2]) if side.environment else "3"
    hashed = " --require-hashes" if side.requirements else ""
    return [
        f"python{python} -m venv {folder}",
        f"{folder}/bin/python -m pip install{hashed} -r {file}",
    ]


def _how(sides: Sequence[ReproducedSide]) -> str:
    a, b = file_names(sides)
    if a == b:
        return f"Run `python {SCRIPT} a`, then `python {SCRIPT} b`, with what {a} lists installed."
    return f"Run `python {SCRIPT} a` with {a} installed, then `python {SCRIPT} b` with {b}."


def _said(shown: Shown) -> str:
    if shown.failure:
        return f"b ends by {shown.failure}, a does not"
    assert shown.difference is not None  # noqa: S101 - one of the two is there
    return f"{shown.difference:.3g} of the largest number"


def _verdict(shown: Shown) -> str:
    if shown.failure:
        return f"Side a answers; side b fails ({shown.failure})."
    return f"The outputs of a and b differ by {_said(shown)}."


def _indexes(side: ReproducedSide) -> str:
    folder = side.environment.folder if side.environment else None
    return ", ".join((*folder.file.extra_index, *folder.file.find_links)) if folder else ""


def _plain(text: str) -> str:
    """Safe inside a docstring and an f-string: names of operators are anybody's text."""
    kept = "".join(c if c.isprintable() else " " for c in text)
    return kept.replace("\\", "/").replace('"', "'").replace("{", "(").replace("}", ")")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
