"""Weights that nobody trained, from a seed and some images.

The arrays come from NumPy's generator, each from the seed and its own name, so that they do not
depend on PyTorch's. Batch-norm statistics are then measured on the images, layer by layer as a
network that trains would, and the head is fitted so that labels spread over the classes.
"""

from __future__ import annotations

import hashlib
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
import torch

from runner.architectures import Architecture
from runner.architectures.base import split
from runner.errors import RunnerError

_LOGIT_STD = 3.0
"""Of the logits over images and classes; trained networks have 1 to 4."""

_COMPONENTS = 64
_FLOOR = 1e-3
"""Of a principal component's variance, relative to the largest: below it nothing is amplified
further, so that the head does not answer to noise."""

_SPREADS = {
    "running_mean": (0.0, 0.0),
    "running_var": (1.0, 0.0),
    "layer_scale": (0.3, 0.05),
    "class_token": (0.0, 0.1),
    "pos_embedding": (0.0, 0.1),
}
"""Centre and standard deviation of arrays that are no layer's weight."""

Batches = Callable[[], Iterator[np.ndarray]]
"""Gives the normalised images once more: float32 [b, 3, height, width] each."""


def initial_array(seed: int, name: str, shape: Tuple[int, ...]) -> np.ndarray:
    """One array of a network, float32: a function of the seed, the name and the shape.

    Weights of layers are normal with variance 2 / fan-in (https://arxiv.org/abs/1502.01852), those
    of attention 1 / fan-in; weights of norms lie around 1, scales of residuals around 0.3,
    embeddings and biases around 0. Running statistics are those of a fresh batch norm.
    """
    digest = hashlib.sha256(name.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
    normal = generator.standard_normal(shape, dtype=np.float32)
    _, own = split(name)
    if own in _SPREADS:
        centre, spread = _SPREADS[own]
    elif own.endswith("bias"):
        centre, spread = 0.0, 0.1
    elif len(shape) < 2:
        centre, spread = 1.0, 0.1
    else:
        gain = 1.0 if "attention" in name else 2.0
        centre, spread = 0.0, float(np.sqrt(gain / np.prod(shape[1:])))
    return np.float32(centre) + np.float32(spread) * normal


def fit_batch_norms(module: Any, batches: Batches) -> int:
    """Measure every batch norm's statistics on the images; the number of batch norms.

    Each batch is normalised by its own statistics on its way; what is kept is their mean over the
    batches.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    if not norms:
        return 0
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches():
            module(torch.from_numpy(batch))
    for norm, before in zip(norms, momentum):
        norm.momentum = before
        norm.eval()
    return len(norms)


def fit_head(
    module: Any, architecture: Architecture, batches: Batches, seed: int
) -> Dict[str, float]:
    """Choose the rows of the head; what came of it on the images.

    The head's inputs are standardised, their principal components evened out, and each class gets
    a random direction among them; the bias centres every class.

    Returns:
        `images`, `labels` (how many distinct ones), `logit_std`, and `margin_p5`, `margin_p50` and
        `margin_p95`, quantiles of the distance between the two highest logits.

    Raises:
        RunnerError: kind `conversion`, if the images give no finite or no differing features.
    """
    head = module.get_submodule(architecture.head)
    features = _features(module, head, batches)
    mean, std = features.mean(0), features.std(0)
    spread = std > 1e-6 * float(std.max())
    if not bool(torch.isfinite(features).all()) or not bool(spread.any()):
        raise RunnerError(
            "conversion",
            "the images give the seeded network no differing features: use more images, and other "
            "ones than blank",
        )
    scale = torch.where(spread, 1 / torch.where(spread, std, 1.0), 0.0)
    directions = _evened((features - mean) * scale)
    classes, name = head.weight.shape[0], f"{architecture.head}.weight"
    drawn = initial_array(seed, name + ":directions", (classes, directions.shape[0]))
    rows = torch.from_numpy(drawn).double() @ directions * scale
    logits = (features - mean) @ rows.T
    rows = rows * (_LOGIT_STD / float(logits.std()))
    bias = -(rows @ mean)
    with torch.no_grad():
        head.weight.copy_(rows.float().reshape(head.weight.shape))
        head.bias.copy_(bias.float())
        if architecture.name == "squeezenet1_1":
            # A ReLU follows this head: it may only cut off what is low anyway.
            head.bias.add_(3 * _LOGIT_STD)
            return _told(torch.cat([module(torch.from_numpy(batch)) for batch in batches()]))
    return _told(features @ rows.T + bias)


def _features(module: Any, head: Any, batches: Batches) -> Any:
    """What the head takes, averaged over positions where it has any: float64 [images, features]."""
    seen: List[Any] = []

    def look(layer: Any, args: Tuple[Any, ...]) -> None:
        del layer
        fed = args[0].double()
        seen.append(fed.mean((2, 3)) if fed.ndim == 4 else fed)

    hook = head.register_forward_pre_hook(look)
    with torch.no_grad():
        for batch in batches():
            module(torch.from_numpy(batch))
    hook.remove()
    return torch.cat(seen)


def _evened(standard: Any) -> Any:
    """Directions [k, features] along which the images have about the same variance."""
    count = min(_COMPONENTS, len(standard) - 1, standard.shape[1])
    _, sizes, axes = torch.linalg.svd(standard, full_matrices=False)
    variances = sizes[:count] ** 2
    floor = variances[0] * _FLOOR
    return axes[:count] / torch.sqrt(torch.clamp(variances, min=float(floor)))[:, None]


def _told(answers: Any) -> Dict[str, float]:
    answers = answers.double()
    best = torch.topk(answers, min(2, answers.shape[1]), dim=1)
    margins = best.values[:, 0] - best.values[:, -1]
    quantiles = torch.quantile(margins, torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64))
    return {
        "images": len(answers),
        "labels": len(torch.unique(best.indices[:, 0])),
        "logit_std": round(float(answers.std()), 4),
        **{f"margin_p{p}": round(float(q), 4) for p, q in zip((5, 50, 95), quantiles)},
    }
