"""Proof that a setting did something: a hash and a summary of what a model was compiled to.

A backend that can see what it executes has `fingerprint(folder) -> dict` and builds it here. Two
processes with the same settings must give the same hash, so whatever differs between them without
being executed is taken out first: addresses, temporary paths, numbered names, the order of maps.
Whatever is executed must be in it, the bytes of constants too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from runner.errors import RunnerError, as_document, classify

FORMS = (
    *("onnx", "relax", "tir", "hlo", "graphdef", "fx", "torchscript", "openvino", "tflite"),
    *("ncnn", "vmfb", "engine", "null"),
)
"""What a model can be compiled to; hashes of different forms are never compared."""

FOLDER = "fingerprint"
"""Below the job's work folder: scratch space of a backend that must write to look."""

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")
_TRAILING_NUMBER = re.compile(r"(?:[._]?\d+)+$")
_SSA_NAME = r"%[A-Za-z0-9_.$-]+"

Constant = Union[bytes, bytearray, memoryview, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Fingerprint:
    """What a model was compiled to.

    Attributes:
        form: one of `FORMS`.
        sha256: over all that is executed, in hexadecimal.
        operators: how many there are of each kind, after all optimisation.
        passes: those that ran, in order; None where the library does not tell.
        code_bytes: how large the code or program is; None where nobody can tell.
    """

    form: str
    sha256: str
    operators: Mapping[str, int]
    passes: Optional[Sequence[str]] = None
    code_bytes: Optional[int] = None

    def as_document(self) -> Dict[str, Any]:
        """The object `compiled` of the event `loaded`; operators by count, then by name."""
        ordered = sorted(self.operators.items(), key=lambda pair: (-pair[1], pair[0]))
        return {
            "form": self.form,
            "sha256": self.sha256,
            "operators": dict(ordered),
            "passes": None if self.passes is None else list(self.passes),
            "code_bytes": self.code_bytes,
        }


def of_lines(
    form: str,
    lines: Iterable[str],
    constants: Iterable[Constant] = (),
    *,
    operators: Optional[Mapping[str, int]] = None,
    passes: Optional[Sequence[str]] = None,
    code_bytes: Optional[int] = None,
) -> Fingerprint:
    """The fingerprint of a program as text and of its constants, both in a fixed order.

    Args:
        form: one of `FORMS`.
        lines: the program, canonical already.
        constants: bytes or arrays; of an array the dtype and shape count too.
        operators: how many of each kind; by default each line's first word is counted.
        passes: those that ran, in order.
        code_bytes: size of the code; by default that of the text.
    """
    digest = hashlib.sha256()
    kept = [line.rstrip() for line in lines]
    for line in kept:
        digest.update(line.encode("utf-8", "replace") + b"\n")
    for constant in constants:
        digest.update(_of_constant(constant))
    return Fingerprint(
        form=form,
        sha256=digest.hexdigest(),
        operators=count(_first_words(kept)) if operators is None else operators,
        passes=passes,
        code_bytes=sum(len(line) + 1 for line in kept) if code_bytes is None else code_bytes,
    )


def count(kinds: Iterable[str]) -> Dict[str, int]:
    """How many of each kind there are."""
    found: Dict[str, int] = {}
    for kind in kinds:
        found[kind] = found.get(kind, 0) + 1
    return found


def strip_addresses(text: str) -> str:
    """The text with `0x` in the place of every address in memory."""
    return _ADDRESS.sub("0x", text)


def strip_paths(text: str, folders: Iterable[str]) -> str:
    """The text without the names of folders that are another in each process; the longest first."""
    for folder in sorted({folder for folder in folders if folder}, key=len, reverse=True):
        text = text.replace(folder, "")
    return text


def strip_numbers(name: str) -> str:
    """A name without the number at its end: `fused_conv2d_add_12` is a `fused_conv2d_add`.

    For kinds of operators; what is hashed keeps its structure by `number_names`.
    """
    return _TRAILING_NUMBER.sub("", name) or name


def number_names(lines: Iterable[str], pattern: str = _SSA_NAME, prefix: str = "%") -> List[str]:
    """Lines with each name that the pattern finds replaced by its place in order of appearance.

    Names are chosen anew in every process by some compilers; which value is meant is not.
    """
    seen: Dict[str, str] = {}

    def numbered(match: "re.Match[str]") -> str:
        return seen.setdefault(match.group(0), f"{prefix}{len(seen)}")

    finder = re.compile(pattern)
    return [finder.sub(numbered, line) for line in lines]


def take(backend: Any, folder: str) -> Dict[str, Any]:
    """Ask a backend what it compiled a model to; `{"absent": why}` where there is no answer.

    One that fails at it costs the cell nothing but the proof. The folder is emptied before and
    removed after.
    """
    look = getattr(backend, "fingerprint", None)
    if look is None:
        return {"absent": "its library does not show what it compiles a model to"}
    if _is_anothers(backend):
        return {
            "absent": "the backend has the fingerprint of one of the runner's, which knows nothing of "
            "what this one does besides: give it one of its own"
        }
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    try:
        return _checked(look(folder))
    except Exception as error:
        failure = as_document(classify(error))
        print(f"runner: no fingerprint of what was compiled: {failure['message']}", flush=True)
        return {"absent": f"{failure['kind']}: {failure['message']}"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def beside(document: Mapping[str, Any], variables: Mapping[str, str]) -> Dict[str, Any]:
    """The document of the same program in a process that was given these environment variables.

    A library may choose its kernels by them while it runs, and no program shows that.
    """
    if not variables or "sha256" not in document:
        return dict(document)
    told = [str(document["sha256"]), json.dumps(dict(variables), sort_keys=True)]
    return dict(document, sha256=hashlib.sha256("\n".join(told).encode()).hexdigest())


def _is_anothers(backend: Any) -> bool:
    """Whether a plug-in was made of one of the runner's backends, and took over its fingerprint.

    What the plug-in's own settings change would be in no hash, and so be called inert.
    """
    made = type(backend)
    owner = next((one for one in made.__mro__ if "fingerprint" in vars(one)), made)
    return _is_runners(owner) and not _is_runners(made)


def _is_runners(one: type) -> bool:
    return one.__module__.split(".", 1)[0] == __package__.split(".", 1)[0]


def _checked(document: Any) -> Dict[str, Any]:
    """The document, if it is one; a plug-in may give anything."""
    given = document.as_document() if isinstance(document, Fingerprint) else document
    if not isinstance(given, dict) or not {"form", "sha256", "operators"} <= set(given):
        raise RunnerError("unsupported", "the backend's fingerprint is no document of one")
    return dict({"passes": None, "code_bytes": None}, **given)


def _of_constant(constant: Constant) -> bytes:
    if isinstance(constant, np.ndarray):
        about = f"{constant.dtype.str}{tuple(constant.shape)}".encode()
        content = np.ascontiguousarray(constant).tobytes()
    else:
        about, content = b"", bytes(constant)
    # Lengths, or two constants could be divided elsewhere and hash the same.
    return about + str(len(content)).encode() + b":" + hashlib.sha256(content).digest()


def _first_words(lines: Sequence[str]) -> Tuple[str, ...]:
    return tuple(line.split(None, 1)[0] for line in lines if line.strip())
