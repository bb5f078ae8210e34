"""Run inside an environment with Keras: the arrays of `architectures_in_torch.py`, answered by Keras.

`python architectures_in_keras.py FOLDER NAME…` writes FOLDER/NAME.keras-torch.npy (logits of Keras's
model aligned to PyTorch) and, where there is a NAME.keras.npy to compare with, NAME.keras-keras.npy
(logits of Keras's own).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from runner import architectures
from runner.support import keras_architecture, keras_engine, weights_file


def main() -> None:
    folder = Path(sys.argv[1])
    keras = keras_engine.load(1)
    for name in sys.argv[2:]:
        architecture = architectures.find(name)
        x = np.load(folder / f"{name}.x.npy")
        arrays = weights_file.read(str(folder / f"{name}.npz"))
        aligned = {one.key: one.torch for one in architecture.variants}
        own = {"keras": {}} if (folder / f"{name}.keras.npy").exists() else {}
        for said, variant in {"torch": aligned, **own}.items():
            model = keras_architecture.of_arrays(keras, name, arrays, variant, x.shape[1:])
            (logits,) = keras.run(model, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
            np.save(folder / f"{name}.keras-{said}.npy", logits)


main()
