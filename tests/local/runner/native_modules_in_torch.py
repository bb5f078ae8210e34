"""Run inside a PyTorch environment: every architecture, seeded and varied.

`python native_modules_in_torch.py` writes one JSON object on standard output. By architecture:
`told` (how its labels spread), `again` (whether seeding twice gave the same bytes), `spread` (the
standard deviation of its logits), `timm` (its difference to torchvision's, aligned to that),
`epsilons` (of the modules as the libraries have them, and after the arrays were put into them) and
`variants` (key, value: the largest difference to the library's own). `exported`: what `torch.export` changes.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from runner import architectures
from runner.support import torch_architecture as natives
from runner.support import torch_seeding

CLASSES = 20
SIZES = {"inception_v3": 107, "vit_b_16": 32}
EXPORTED = (
    ("inception_v3", {"average_pool": "excluded"}),
    ("resnet101_v2", {"downsampling": "last"}),
)


def images(name: str) -> np.ndarray:
    size = SIZES.get(name, 64)
    generator = np.random.Generator(np.random.PCG64(4))
    # Of low frequency, as pictures are: a seeded network hardly tells white noise apart.
    small = generator.standard_normal((12, 3, 4, 4)).astype(np.float32)
    large = functional.interpolate(torch.from_numpy(small), (size, size), mode="bicubic")
    return np.ascontiguousarray(large.numpy())


def seeded(name: str, seed: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    known, x = architectures.find(name), images(name)
    shape = x.shape[1:]
    module = natives.build(known, known.library, CLASSES, shape, {})
    drawn = {
        array: torch_seeding.initial_array(seed, array, size)
        for array, size in natives.shapes(module, known).items()
    }
    natives.transplant(module, drawn, known)
    torch_seeding.fit_batch_norms(module, lambda: iter((x[:6], x[6:])))
    told = torch_seeding.fit_head(module, known, lambda: iter((x[:6], x[6:])), seed)
    return {n: array.copy() for n, array in natives.arrays_of(module, known).items()}, told


def answers(name: str, library: str, arrays: Any, variant: dict[str, Any]) -> np.ndarray:
    known, x = architectures.find(name), images(name)
    module = natives.build(known, library, CLASSES, x.shape[1:], variant)
    assert {n: a.shape for n, a in arrays.items()} == natives.shapes(
        module, known
    ) or library == "timm"
    natives.transplant(module, arrays, known)
    with torch.inference_mode():
        return np.asarray(module(torch.from_numpy(x)).numpy())


def epsilons(known: Any, library: str, arrays: Any, shape: Any) -> list[float]:
    """Of all batch norms, each once."""
    module = natives.build(known, library, CLASSES, shape, {})
    before = natives.epsilon_of(module)
    natives.transplant(module, arrays, known)
    norms = (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    return sorted({before, *(float(norm.eps) for norm in norms)})


def looked_at(name: str, *, twice: bool) -> dict[str, Any]:
    known = architectures.find(name)
    arrays, told = seeded(name, 0)
    found: dict[str, Any] = {"told": told, "variants": []}
    if twice:
        again, other = seeded(name, 0)[0], seeded(name, 1)[0]
        found["again"] = all(np.array_equal(array, again[n]) for n, array in arrays.items())
        found["other"] = sum(np.array_equal(array, other[n]) for n, array in arrays.items())
    own = answers(name, known.library, arrays, {})
    found["spread"] = float(own.std())
    for one in known.variants:
        for value in one.values or (one.torch, one.keras, 0.1):
            got = answers(name, known.library, arrays, {one.key: value})
            found["variants"].append([one.key, value, float(np.abs(got - own).max())])
    shape = images(name).shape[1:]
    found["epsilons"] = {
        library: epsilons(known, library, arrays, shape) for library in known.libraries
    }
    if known.libraries[1:]:
        aligned = {v.key: v.torch for v in known.variants}
        got = answers(name, "timm", arrays, aligned)
        found["timm"] = float(np.abs(got - own).max())
    return found


def export(name: str, variant: dict[str, Any]) -> list[float]:
    known, x = architectures.find(name), images(name)
    module = natives.build(known, known.library, CLASSES, x.shape[1:], variant)
    natives.transplant(module, seeded(name, 0)[0], known)
    program = natives.export(module, x).module()
    with torch.inference_mode():
        fed = torch.from_numpy(x)
        return [float((program(fed) - module(fed)).abs().max()), float(module(fed).std())]


def stem() -> list[float]:
    """ResNet101V2's pool with zeros around: to the same computed apart, and to the library's own."""
    known, x = architectures.find("resnet101_v2"), torch.from_numpy(images("resnet101_v2"))
    zeros, own = (
        natives.build(known, "timm", CLASSES, tuple(x.shape[1:]), variant)
        for variant in ({"max_pool": "zeros"}, {})
    )
    own.load_state_dict(zeros.state_dict())
    with torch.inference_mode():
        apart = functional.max_pool2d(functional.pad(zeros.stem.conv(x), (1, 1, 1, 1)), 3, 2)
        got = zeros.stem(x)
        return [float((got - other).abs().max()) for other in (apart, own.stem(x))]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    document: dict[str, Any] = {
        name: looked_at(name, twice=name in ("mobilenet_v2", "vit_b_16", "squeezenet1_1"))
        for name in architectures.names()
    }
    document["exported"] = [export(name, variant) for name, variant in EXPORTED]
    document["stem"] = stem()
    print(json.dumps(document))


main()
