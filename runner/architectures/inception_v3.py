"""InceptionV3, https://arxiv.org/abs/1512.00567."""

from __future__ import annotations

from typing import Optional

from runner.architectures import base


def _norm_of(prefix: str) -> Optional[str]:
    return f"{prefix[: -len('conv')]}bn" if prefix.endswith(".conv") else None


ARCHITECTURE = base.Architecture(
    name="inception_v3",
    library="torchvision",
    builder="inception_v3",
    timm="inception_v3",
    keras="InceptionV3",
    size=299,
    head="fc",
    variants=(
        base.Variant("average_pool", ("counted", "excluded"), "counted", "excluded"),
        base.batch_norm_epsilon(1e-3, 1e-3),
    ),
    norm_of=_norm_of,
    biased=lambda prefix: prefix == "fc",
    alias=base.same_name,
    ignored=("AuxLogits.",),
)
