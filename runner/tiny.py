"""Two models of a few hundred bytes, to see whether a provider really starts.

Both multiply float32 [1, 4] by the identity, so the answer is the input: a matrix product needs a
device's linear algebra, which is what is missing where a provider is listed and does not start.
"""

from __future__ import annotations

import base64

import numpy as np

ONNX = base64.b64decode(
    "CAYSADqNAQoRCgF4CgF3EgF5IgZNYXRNdWwSAWcqSwgECAQQAUIBd0pAAACAPwAAAAAAAAAAAAAAAAAAAAAAAIA/"
    "AAAAAAAAAAAAAAAAAAAAAAAAgD8AAAAAAAAAAAAAAAAAAAAAAACAP1oTCgF4Eg4KDAgBEggKAggBCgIIBGITCgF5"
    "Eg4KDAgBEggKAggBCgIIBEIECgAQCw=="
)
"""IR version 6, opset 11: one `MatMul` from `x` to `y`."""

TFLITE = base64.b64decode(
    "GAAAAFRGTDMAAA4AFAAQAAwACAAAAAQADgAAABAAAAA4AAAAFAAAAAMAAAACAAAAsAEAAFwBAAABAAAAEAAAAAwA"
    "DAALAAAAAAAEAAwAAAAJAAAAAAAACQEAAAAQAAAADAAUABAADAAIAAQADAAAACAAAAAMAAAAEAAAAFwAAAABAAAA"
    "AgAAAAEAAAAAAAAAAQAAABQAAAAAAA4AFAAAABAADAALAAQADgAAACgAAAAAAAAICAAAAAwAAAABAAAAAgAAAAMA"
    "AAAAAAAAAQAAAP/////4/v//AwAAAIAAAABEAAAABAAAAKD///8MAAAAFAAAABwAAAACAAAA/////wQAAAACAAAA"
    "AQAAAAQAAAABAAAAeQAAAAwAEAAIAAAABAAMAAwAAAABAAAACAAAABAAAAACAAAABAAAAAQAAAABAAAAdwAAABQA"
    "EAAIAAAAAAAMAAAAAAAAAAQAFAAAAAwAAAAUAAAAHAAAAAIAAAD/////BAAAAAIAAAABAAAABAAAAAEAAAB4AAYA"
    "CAAEAAYAAAAEAAAAQAAAAAAAgD8AAAAAAAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAAAAAAIA/AAAAAAAA"
    "AAAAAAAAAAAAAAAAgD8EAAQABAAAAA=="
)
"""One `FULLY_CONNECTED` from `x` to `y`."""

ROW = np.array([[1.0, -2.0, 3.0, 0.5]], dtype=np.float32)
"""What is fed, and what must come out."""


def is_right(output: np.ndarray) -> bool:
    """Whether a device computed the product; half precision and TF32 hold these values too."""
    return output.shape == ROW.shape and bool((output == ROW).all())
