"""Corruptions of ImageNet-C, by the library `imagecorruptions`, the same for an image every time.

Hendrycks and Dietterich, https://arxiv.org/abs/1903.12261: 19 ways in 5 severities, applied to the
cropped image. The library draws from NumPy's global state, so that is seeded for each image by
what the image is called, and not by its place.
"""

from __future__ import annotations

import hashlib
import inspect
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, Sequence, Tuple

import numpy as np

from runner.backends.base import installed_version, unsupported
from runner.errors import RunnerError
from runner.prepare_jobs import Corruption

LIBRARY = "imagecorruptions"
SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST_SIDE = 32
"""The library refuses smaller images."""

_DISTRIBUTIONS = ("imagecorruptions-imaug", "imagecorruptions")
_PARTS = ("numpy", "scipy", "scikit-image", "opencv-python-headless", "pillow")
# They draw by other means than NumPy's global state, and take a number for it.
_TAKE_A_SEED = ("glass_blur", "impulse_noise")


def versions() -> Dict[str, str]:
    """The distribution that the library came in, and those that compute for it."""
    found = {name: installed_version(name) for name in (*_DISTRIBUTIONS, *_PARTS)}
    return {name: version for name, version in found.items() if version}


def names() -> Tuple[str, ...]:
    """The corruptions that the library has, by ImageNet-C's names.

    Two draw by other means than NumPy's global state. The library as it was first published can't
    seed those: there they are left out, as they would be others every time.

    Raises:
        RunnerError: kind `unsupported`: this environment lacks the library.
    """
    library = _library()
    return tuple(
        name
        for name in library.get_corruption_names("all")
        if name not in _TAKE_A_SEED or _can_be_seeded(library, name)
    )


def probe() -> Dict[str, Any]:
    """The object under `corruptions` of the event `probe`; never raises."""
    try:
        offer = {"names": list(names()), "severities": list(SEVERITIES)}
    except RunnerError as error:
        return {"ok": False, "version": "", "detail": error.message, "offer": None}
    except Exception as error:
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return {"ok": False, "version": "", "detail": detail, "offer": None}
    return {"ok": True, "version": next(iter(versions().values())), "detail": "", "offer": offer}


def corrupt(rows: np.ndarray, corruption: Corruption) -> Iterator[np.ndarray]:
    """Each row corrupted: uint8 [H, W, 3].

    Args:
        rows: uint8 [N, H, W, 3].
        corruption: what is to be done, with a key for each row.

    Raises:
        RunnerError: kind `unsupported`, for an unknown corruption, or rows that it can't take;
            `job`, for another number of keys than rows.
    """
    library = _library()
    known = names()
    if corruption.name not in known:
        why = ""
        if corruption.name in _TAKE_A_SEED:
            why = f"it can't be seeded in this library; {_DISTRIBUTIONS[0]} has it with a seed"
        raise unsupported(LIBRARY, "corruption", corruption.name, known, why=why)
    check_rows(rows, corruption.keys)
    return _corrupt_each(library, rows, corruption)


def check_rows(rows: np.ndarray, keys: Sequence[str]) -> None:
    """Refuse rows that can't be corrupted.

    Raises:
        RunnerError: as `corrupt`.
    """
    if rows.dtype != np.uint8 or rows.ndim != 4 or rows.shape[3] != 3:
        raise RunnerError(
            "unsupported",
            f"corruptions are of uint8 pixels [N, H, W, 3], and these are {rows.dtype} "
            f"{list(rows.shape)}: prepare them by a preprocessor that yields uint8",
        )
    if min(rows.shape[1:3]) < SMALLEST_SIDE:
        size = f"{rows.shape[1]} x {rows.shape[2]}"
        raise RunnerError(
            "unsupported",
            f"{LIBRARY} takes images of {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels or more, and "
            f"these are {size}",
        )
    if len(keys) != len(rows):
        message = f"job.corruption.keys: {len(keys)} keys for {len(rows)} images"
        raise RunnerError("job", message)


def _corrupt_each(
    library: ModuleType, rows: np.ndarray, corruption: Corruption
) -> Iterator[np.ndarray]:
    for row, key in zip(rows, corruption.keys):
        seed = _seed(corruption, key)
        options = {"seed": int(seed[0] >> 1)} if corruption.name in _TAKE_A_SEED else {}
        with _seeded(seed):
            made = library.corrupt(
                np.ascontiguousarray(row),
                severity=corruption.severity,
                corruption_name=corruption.name,
                **options,
            )
        yield np.asarray(made, dtype=np.uint8)


def _seed(corruption: Corruption, key: str) -> np.ndarray:
    """Eight numbers of 32 bits from everything that makes this image's corruption its own."""
    parts = (str(corruption.seed), corruption.name, str(corruption.severity), key)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return np.frombuffer(digest, dtype=">u4").astype(np.uint32)


@contextmanager
def _seeded(seed: np.ndarray) -> Iterator[None]:
    """NumPy's global state is seeded within the block, and as before after it."""
    before = np.random.get_state()  # noqa: NPY002 - what the library draws from
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _can_be_seeded(library: ModuleType, name: str) -> bool:
    """Whether `corrupt` passes a seed on, and the corruption itself takes it."""
    of_its_own = getattr(library, "corruption_dict", {}).get(name, library.corrupt)
    return _takes_a_seed(library.corrupt, passed_on=True) and _takes_a_seed(of_its_own)


def _takes_a_seed(function: Callable[..., Any], passed_on: bool = False) -> bool:
    parameters = inspect.signature(function).parameters
    any_name = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return "seed" in parameters or (passed_on and any_name)


def _library() -> ModuleType:
    try:
        import imagecorruptions
    except ImportError as error:
        raise RunnerError(
            "unsupported", f"{LIBRARY} does not import in this environment: {error}"
        ) from error
    library: ModuleType = imagecorruptions
    return library
