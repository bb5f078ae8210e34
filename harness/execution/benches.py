"""Which environment prepares pixels for a sweep, whatever runs its models."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from packaging.version import Version

from harness.containers.limits import Limits
from harness.environments.adhoc import is_kept
from harness.environments.environment import Environment, Executor
from harness.environments.folders import EnvironmentFolder
from harness.environments.registry import folders, resolve
from harness.errors import HarnessError, SpecError
from harness.execution.side_jobs import Bench
from harness.execution.stacks import Stacks
from harness.progress import Progress

Offered = Callable[[EnvironmentFolder], Sequence[str]]


class Benches:
    """The environments for side jobs of one sweep; nothing is built before it is used.

    Args:
        stacks: the sweep's environments.
        limits: what a container may use.
        progress: where long steps are reported to.
    """

    def __init__(self, stacks: Stacks, limits: Limits, progress: Progress) -> None:
        self._stacks, self._limits, self._progress = stacks, limits, progress
        self._found: dict[str, Bench | str] = {}

    @property
    def executor(self) -> Executor:
        """How side jobs are run: in containers where any of the sweep's cells is."""
        in_containers = any(stack.executor == "docker" for stack in self._stacks.stacks)
        return "docker" if in_containers and self._stacks.engine is not None else "venv"

    def preprocessing(self, name: str) -> Bench | str:
        """Where a preprocessor runs, the same in every sweep; a text says why it cannot be had.

        Raises:
            SpecError: no environment offers it.
        """
        return self._bench(f"the preprocessor {name}", lambda f: f.file.preprocessors, name)

    def corrupting(self) -> Bench | str:
        """Where pixels are corrupted; a text says why that cannot be had.

        Raises:
            SpecError: no environment corrupts pixels.
        """
        return self._bench("corruptions", lambda f: f.file.corruptions, None)

    def native(self, identity: str) -> tuple[str, Bench] | None:
        """How an environment of the sweep decodes images by its own means; None: it cannot."""
        env = self._stacks.environments.get(identity)
        if env is None:
            ready = self._stacks.ready.get(identity)
            env = ready.env if ready else None
        if env is None or not env.preparing.preprocessors:
            return None
        return env.preparing.preprocessors[0], Bench(env, self._stacks.engine, self._limits)

    def _bench(self, what: str, offered: Offered, name: str | None) -> Bench | str:
        if what not in self._found:
            self._found[what] = self._resolved(what, offered, name)
        return self._found[what]

    def _resolved(self, what: str, offered: Offered, name: str | None) -> Bench | str:
        known = folders()
        folder = choose(known, offered, name)
        if folder is None:
            raise _nobody(known, what, offered, name)
        try:
            env: Environment = resolve(
                folder.name,
                progress=self._progress,
                executor=self.executor,
                engine=self._stacks.engine,
            )
        except HarnessError as error:
            return f"{folder.name}, which offers {what}, cannot be had: {error}"
        return Bench(env, self._stacks.engine, self._limits)


def choose(
    known: Sequence[EnvironmentFolder], offered: Offered, name: str | None
) -> EnvironmentFolder | None:
    """The environment for a side job on the CPU: whose own means it is, else the newest.

    One that was made from `package==version` is never taken: it is there on one machine only.

    Args:
        known: all environment folders.
        offered: the list in which an environment says what it offers.
        name: what is wanted of the list; None: anything.
    """
    able = [
        folder
        for folder in known
        if folder.file.accelerator == "cpu"
        and not is_kept(folder)
        and folder.locked_pythons
        and (name in offered(folder) if name is not None else offered(folder))
    ]

    def preference(folder: EnvironmentFolder) -> tuple[int, Version, str]:
        place = offered(folder).index(name) if name is not None else 0
        return -place, Version(folder.file.version), folder.name

    return max(able, key=preference, default=None)


def _nobody(
    known: Sequence[EnvironmentFolder], what: str, offered: Offered, name: str | None
) -> SpecError:
    """That no environment can be chosen: because nobody offers it, or only those that may not."""
    able = [f.name for f in known if (name in offered(f) if name is not None else offered(f))]
    if able:
        return SpecError(
            f"{what[0].upper()}{what[1:]} cannot be had: {', '.join(able)} would offer it, but what serves all cells has "
            "to be an environment for the CPU, in a folder with locks.",
            "Write one with its own `env.toml`, or ask for another.",
        )
    names = sorted({one for folder in known for one in offered(folder)})
    close = difflib.get_close_matches(name or "", names, n=2)
    return SpecError(
        f"This cannot be prepared: no environment offers {what}; there are: "
        f"{', '.join(names) or 'none'}.",
        (f"Did you mean {' or '.join(close)}? " if close else "")
        + "`harness env show` says what an environment offers; HARNESS_IMAGES may hide some.",
    )
