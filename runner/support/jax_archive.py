"""The artifact `jax`: one zip file of exported functions (StableHLO) and the weights they take.

    about.json              format, calling convention, names of outputs, and `computes_in`: the
                            floating-point types below float32 that the model computes in
    function-<precision>    `jax.export`'s bytes, one for each of JAX's matmul precisions
    weights/<nnnnn>.npy     the arguments after the input, in order

JAX writes the precision of products and convolutions into a function when it is traced, where no
switch reaches it afterwards: hence several functions, of some ten kilobytes each. Nothing in the
file is pickled, and its dates are fixed: the same model gives the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Sequence, Tuple

import numpy as np

from runner.errors import RunnerError, classify

PRECISIONS = ("default", "high", "highest")
"""Values of `jax_default_matmul_precision` that a function is exported for."""

VERSION = 2
_ABOUT = "about.json"
_WEIGHTS = "weights/{:05d}.npy"
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Archive:
    """What an artifact holds; `about` is what its writer said of it."""

    functions: Mapping[str, bytes]
    weights: Tuple[np.ndarray, ...]
    about: Mapping[str, Any]


def write(
    path: str,
    functions: Mapping[str, bytes],
    weights: Sequence[np.ndarray],
    about: Mapping[str, Any],
) -> None:
    """Write an artifact: functions by precision, and the weights in the order they take them."""
    document = dict(about, version=VERSION, weights=len(weights))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, _ABOUT, json.dumps(document, indent=1, sort_keys=True).encode())
        for precision, function in functions.items():
            _add(archive, f"function-{precision}", bytes(function))
        for index, weight in enumerate(weights):
            stream = io.BytesIO()
            np.save(stream, weight, allow_pickle=False)
            _add(archive, _WEIGHTS.format(index), stream.getvalue())


def read(path: str) -> Archive:
    """Read an artifact.

    Raises:
        RunnerError: kind `model`, if it is none, or a newer one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about: Dict[str, Any] = json.loads(archive.read(_ABOUT))
            known = about.get("version") == VERSION
            functions = {p: archive.read(f"function-{p}") for p in PRECISIONS if known}
            weights = tuple(
                np.load(io.BytesIO(archive.read(_WEIGHTS.format(i))), allow_pickle=False)
                for i in range(about["weights"] if known else 0)
            )
    except Exception as error:
        refused = classify(error, "model")
        message = f"{path} is not a function exported by onnx>jax: {refused.message}"
        raise RunnerError(refused.kind, message, refused.detail) from error
    if not known:
        raise RunnerError(
            "model",
            f"{path} is an artifact of version {about.get('version')} and this runner reads "
            f"version {VERSION}; convert the model again",
        )
    return Archive(functions, weights, about)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _DATE), content)
