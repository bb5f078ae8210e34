"""The runner's one exception, the kinds of failure, and how a library's exception gets its kind."""

from __future__ import annotations

import traceback
from typing import Any, Dict

KINDS = (
    "unsupported",  # asked for something that this backend, format or machine can't do
    "wrong-device",  # the GPU asked for is not to be seen, or not alone
    "conversion",  # a converter failed or its result is not usable
    "invalid-output",  # the model ran and gave something that can't be its answers
    "model",  # the model file is absent, truncated or refused by the library
    "out-of-memory",
    "signal",  # a process that a backend started was ended by a signal
    "output-limit",  # the answers would be larger than the job allows
    "disk-full",
    "backend",  # the library failed in another way
    "job",  # the job document or a command is wrong, or the work folder can't be used
)

# What libraries say when an allocation failed; they rarely raise MemoryError themselves.
_ALLOCATION_WORDS = (
    "bad_alloc",
    "out of memory",
    "failed to allocate",
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "not enough memory",
)


class RunnerError(Exception):
    """A failure with its kind (one of `KINDS`), a line for a person, and details for a log."""

    def __init__(self, kind: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.detail = detail


def classify(error: BaseException, kind: str = "backend") -> RunnerError:
    """The `RunnerError` for any exception; `kind` is used unless memory ran out."""
    if isinstance(error, RunnerError):
        return error
    words = " ".join(str(error).split())
    detail = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, MemoryError) or any(w in words.lower() for w in _ALLOCATION_WORDS):
        said = f": {words[:500]}" if words else ""
        message = f"memory ran out{said}; use a smaller batch or a larger memory limit"
        return RunnerError("out-of-memory", message, detail)
    return RunnerError(kind, f"{type(error).__name__}: {words[:2000]}", detail)


def as_document(error: RunnerError) -> Dict[str, Any]:
    """The `error` object of a reply; with `schema_version`, the content of `error.json`."""
    return {"kind": error.kind, "message": error.message, "detail": error.detail[-20000:]}
