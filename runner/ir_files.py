"""What a backend compiled a model to, kept as files: intermediate representations, generated code."""

from __future__ import annotations

import os
import shutil
from typing import Any, Iterable, List

from runner.errors import as_document, classify

FOLDER = "ir"
"""Below the job's work folder."""

NOT_KEPT = "not-kept.txt"
"""What there is instead, or besides, where a library does not show what it made."""


def keep(backend: Any, folder: str) -> List[str]:
    """Let a backend write what it compiled; the files, by path relative to the folder.

    A backend that has nothing to show gives none. One that fails at it leaves its reason in
    `not-kept.txt`: the cell has its answers all the same.
    """
    shutil.rmtree(folder, ignore_errors=True)
    write = getattr(backend, "keep_ir", None)
    if write is None:
        return []
    os.makedirs(folder)
    try:
        write(folder)
    except Exception as error:
        failure = as_document(classify(error))
        print(f"runner: what was compiled can't be kept: {failure['message']}", flush=True)
        not_shown(folder, f"{failure['kind']}: {failure['message']}")
    return files_below(folder)


def files_below(folder: str) -> List[str]:
    """Every regular file, by path relative to the folder, in order."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found.append(os.path.relpath(path, folder))
    return sorted(found)


def write_text(folder: str, name: str, text: Any) -> None:
    """Write one file as text."""
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(str(text))


def write_bytes(folder: str, name: str, content: bytes) -> None:
    """Write one file as it is."""
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)


def copy_sources(source: str, folder: str, endings: Iterable[str]) -> None:
    """Copy the files of a compiler's folder whose names end so, at the same places."""
    wanted = tuple(endings)
    for name in files_below(source):
        if name.endswith(wanted):
            target = os.path.join(folder, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(os.path.join(source, name), target)


def not_shown(folder: str, reason: str) -> None:
    """Say what of it is not there, and why."""
    with open(os.path.join(folder, NOT_KEPT), "a", encoding="utf-8") as file:
        file.write(reason.rstrip() + "\n")
