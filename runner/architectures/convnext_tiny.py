"""ConvNeXt-Tiny, https://arxiv.org/abs/2201.03545."""

from __future__ import annotations

import re

from runner.architectures import base

_TIMM = {
    "stem.0": "features.0.0",
    "stem.1": "features.0.1",
    "head.norm": "classifier.0",
    "head.fc": "classifier.2",
}
_PARTS = {"conv_dw": "block.0", "norm": "block.2", "mlp.fc1": "block.3", "mlp.fc2": "block.5"}


def _alias(name: str) -> str:
    prefix, own = base.split(name)
    prefix = _TIMM.get(prefix, prefix)
    down = re.fullmatch(r"stages\.(\d)\.downsample\.(\d)", prefix)
    if down:
        return f"features.{2 * int(down.group(1))}.{down.group(2)}.{own}"
    block = re.fullmatch(r"stages\.(\d)\.blocks\.(\d+)(?:\.([\w.]+))?", prefix)
    if block:
        start = f"features.{2 * int(block.group(1)) + 1}.{block.group(2)}"
        part = block.group(3)
        if part is None:
            return f"{start}.{'layer_scale' if own == 'gamma' else own}"
        return f"{start}.{_PARTS.get(part, part)}.{own}"
    return f"{prefix}.{own}"


ARCHITECTURE = base.Architecture(
    name="convnext_tiny",
    library="torchvision",
    builder="convnext_tiny",
    timm="convnext_tiny",
    timm_only="stem.0.weight",
    keras="ConvNeXtTiny",
    size=224,
    head="classifier.2",
    variants=(),
    norm_of=base.no_norm,
    biased=lambda _: True,
    alias=_alias,
)
