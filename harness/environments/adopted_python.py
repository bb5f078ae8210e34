"""Interpreters that were there already: what each says of itself, and which can run the runner."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.canonical import storage_errors
from harness.environments.variables import probe_variables
from harness.errors import EnvironmentSpecError, ProvisionError
from harness.paths import runner_tree

OLDEST = (3, 8)
"""The oldest Python that the runner supports."""

QUESTION = """
import json, sys
try:
    from importlib.util import find_spec
except ImportError:
    find_spec = None
def has(name):
    try:
        return find_spec(name) is not None
    except Exception:
        return False
stacks = ("onnxruntime", "openvino", "ai_edge_litert", "tflite_runtime", "tensorflow", "torch")
print(json.dumps({
    "path": sys.argv[1],
    "version": list(sys.version_info[:3]),
    "numpy": has("numpy"),
    "stacks": [name for name in stacks if has(name)],
}))
""".strip()
"""A program for any Python, 2 too: its one argument is the path to answer with."""

_ANSWER_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What an interpreter says of itself; nothing was imported for it."""

    path: str
    version: tuple[int, ...]
    numpy: bool
    stacks: tuple[str, ...]

    @property
    def new_enough(self) -> bool:
        """Whether the runner supports this Python."""
        return self.version >= OLDEST

    def words(self) -> str:
        """`/usr/bin/python3 (Python 3.11.2, without NumPy)`."""
        version = ".".join(map(str, self.version))
        lacks = "" if self.numpy else ", without NumPy"
        return f"{self.path} (Python {version}{lacks})"


def read_answers(output: str) -> list[Answer]:
    """The answers among lines that may be anything, in their order."""
    found = []
    for line in output.splitlines():
        try:
            said = json.loads(line)
            answer = Answer(
                path=str(said["path"]),
                version=tuple(int(number) for number in said["version"]),
                numpy=said["numpy"] is True,
                stacks=tuple(str(name) for name in said["stacks"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        found.append(answer)
    return found


def best(name: str, answers: Sequence[Answer]) -> Answer:
    """The first interpreter that can run the runner and has a framework, else the first that can.

    Raises:
        ProvisionError: none can; what each lacks is named.
    """
    if not answers:
        raise ProvisionError(
            f"No Python that answers was found in {name}.",
            "It must hold a Python 3.8 or later with NumPy that an ordinary user may run, on its "
            "PATH or in /opt/conda, /opt/venv or /usr/local.",
        )
    able = [answer for answer in answers if answer.new_enough and answer.numpy]
    if able:
        return next((answer for answer in able if answer.stacks), able[0])
    listed = ", ".join(answer.words() for answer in answers)
    oldest = ".".join(map(str, OLDEST))
    raise ProvisionError(
        f"No Python of {name} can be used: {listed}.",
        f"The runner needs Python {oldest} or later with NumPy beside the framework: install NumPy "
        "there, or name another one.",
    )


def ask_here(reference: str, path: Path) -> Answer:
    """Ask an interpreter of this machine, under the variables that its cells get.

    Raises:
        EnvironmentSpecError: there is no Python at the path.
        ProvisionError: it is too old, or has no NumPy.
    """
    remedy = "Name an interpreter, such as python:/opt/conda/bin/python."
    if not path.exists():
        raise EnvironmentSpecError(f"{reference}: there is no file {path}.", remedy)
    if path.is_dir():
        inside = path / "bin" / "python"
        meant = f"Did you mean python:{inside}?" if inside.exists() else remedy
        raise EnvironmentSpecError(f"{reference} is a folder, not an interpreter.", meant)
    parent, _ = runner_tree()
    with (
        storage_errors(Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="harness-probe-") as folder,
    ):
        variables = probe_variables(Path(folder), parent)
        try:
            done = _ask(path, variables)
        except OSError as error:
            raise EnvironmentSpecError(
                f"{reference} does not start: {error.strerror}.", remedy
            ) from error
        except subprocess.TimeoutExpired as error:
            raise EnvironmentSpecError(
                f"{reference} gave no answer within {_ANSWER_SECONDS} s: it is no Python.", remedy
            ) from error
    answers = read_answers(done.stdout)
    if not answers:
        said = next(iter(done.stderr.strip().splitlines()), "")[:200]
        because = f" (it says: {said})" if said else ""
        raise EnvironmentSpecError(f"{reference} is no Python interpreter{because}.", remedy)
    return best(reference, answers[:1])


def _ask(path: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(path), "-c", QUESTION, str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=_ANSWER_SECONDS,
        env=dict(variables),
        check=False,
    )
