"""Writes named arrays as an `.npz` whose bytes are a function of the arrays alone."""

from __future__ import annotations

import zipfile
from typing import Mapping

import numpy as np

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip archive can hold."""


def write_npz(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays in their order, uncompressed, all with the same date.

    Raises:
        OSError: as the file system says.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(name + ".npy", _LONG_AGO)
            with archive.open(member, "w", force_zip64=True) as file:
                whole = np.asarray(array, order="C")
                np.lib.format.write_array(file, whole, version=(1, 0), allow_pickle=False)
