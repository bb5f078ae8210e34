"""Run inside a PyTorch environment: seeded arrays of each architecture, and what PyTorch answers.

`python architectures_in_torch.py FOLDER NAME…` writes FOLDER/NAME.npz (arrays), NAME.x.npy (images,
NCHW), NAME.torch.npy (logits of the library's own module) and NAME.keras.npy (logits of the module
with everything aligned to Keras), the last not for those that are alike.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from runner import architectures
from runner.support import torch_architecture

CLASSES = 11
ALIKE = ("densenet121", "convnext_tiny")
"""Keras's own differ by an epsilon of 1.001e-5, or by nothing: aligned to PyTorch's is enough."""


def seeded(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """An array of a size that keeps what flows through the network finite and varied."""
    if name.endswith("running_var"):
        return generator.uniform(0.8, 1.2, shape).astype("f4")
    if name.endswith("layer_scale"):
        return generator.normal(0, 0.3, shape).astype("f4")
    if len(shape) > 1:
        return generator.normal(0, np.sqrt(1.6 / np.prod(shape[1:])), shape).astype("f4")
    if name.endswith("weight"):
        return generator.uniform(0.8, 1.2, shape).astype("f4")
    return generator.normal(0, 0.1, shape).astype("f4")


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    for name in sys.argv[2:]:
        architecture = architectures.find(name)
        # One side is odd at every stage and one even. InceptionV3 takes no images as small.
        shape = (3, 107, 98) if name == "inception_v3" else (3, 65, 96)
        images = np.random.Generator(np.random.PCG64(9)).normal(size=(2, *shape))
        x = images.astype("f4")
        np.save(folder / f"{name}.x.npy", x)
        arrays: dict[str, np.ndarray] = {}
        for said in ("torch",) if name in ALIKE else ("torch", "keras"):
            variant = {one.key: one.native(said) for one in architecture.variants}
            module = torch_architecture.build(
                architecture, architecture.library, CLASSES, shape, variant
            )
            generator = np.random.Generator(np.random.PCG64(5))
            arrays = arrays or {
                key: seeded(key, sizes, generator)
                for key, sizes in torch_architecture.shapes(module, architecture).items()
            }
            torch_architecture.transplant(module, arrays, architecture)
            with torch.inference_mode():
                np.save(folder / f"{name}.{said}.npy", module(torch.from_numpy(x)).numpy())
        np.savez(folder / f"{name}.npz", **arrays)


main()
