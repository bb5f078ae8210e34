"""The exception tree and the exit codes.

HarnessError                     something a person should read: message and remedy
├── UsageError                   2  bad input of any kind
│   ├── SpecError                   the sweep file or the options
│   ├── DatasetError                images, labels, arrays
│   ├── ModelError                  model files, recipes, checkpoints
│   ├── EnvironmentSpecError        an unknown environment or a bad folder
│   └── StoreError                  a results folder that cannot be read or written
├── DifferencesError             1  differences beyond what the caller allowed
├── NothingRanError              4  nothing could run
│   ├── ProvisionError              an environment could not be resolved or installed
│   └── EngineError                 no container engine answers, or it refuses or is gone
└── ExecutionError               3  recorded against a cell, never shown as a traceback; `compare` also
                                   ends so where a rule about time cannot be told
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_DIFFERENCES = 1
EXIT_USAGE = 2
EXIT_CELLS_FAILED = 3
EXIT_NOTHING_RAN = 4
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """Something a person should read: what happened, and what to do next."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class UsageError(HarnessError):
    """Bad input: an option, a file, a name."""


class SpecError(UsageError):
    """A sweep file or a combination of options that cannot be understood."""


class DatasetError(UsageError):
    """Images, labels or arrays that cannot be used."""


class ModelError(UsageError):
    """A model file, recipe or checkpoint that cannot be used."""


class EnvironmentSpecError(UsageError):
    """An unknown environment, or an environment folder that is not valid."""


class StoreError(UsageError):
    """A results folder or cache that cannot be read or written."""


class DifferencesError(HarnessError):
    """Two environments differ by more than the caller allowed."""

    exit_code = EXIT_DIFFERENCES


class NothingRanError(HarnessError):
    """Nothing could run at all."""

    exit_code = EXIT_NOTHING_RAN


class ProvisionError(NothingRanError):
    """An environment could not be resolved, locked or installed."""


class EngineError(NothingRanError):
    """No container engine answers, or one refused what was asked, or went away."""


class ExecutionError(HarnessError):
    """A cell or conversion failed; `kind` is the word kept in its attempt record."""

    exit_code = EXIT_CELLS_FAILED

    def __init__(self, kind: str, message: str, remedy: str = "", detail: str = "") -> None:
        super().__init__(message, remedy)
        self.kind = kind
        self.detail = detail
        self.exit_status: int | None = None
        self.signal: int | None = None
        self.limits: dict[str, float] | None = None
        """The limits that it failed under, where they are not all of the cell's."""
