"""ViT-B/16, https://arxiv.org/abs/2010.11929."""

from __future__ import annotations

import re

from runner.architectures import base

_TIMM = {
    "cls_token": "class_token",
    "pos_embed": "encoder.pos_embedding",
    "patch_embed.proj.weight": "conv_proj.weight",
    "patch_embed.proj.bias": "conv_proj.bias",
    "norm.weight": "encoder.ln.weight",
    "norm.bias": "encoder.ln.bias",
    "head.weight": "heads.head.weight",
    "head.bias": "heads.head.bias",
}
_PARTS = (
    ("attn.qkv.", "self_attention.in_proj_"),
    ("attn.proj.", "self_attention.out_proj."),
    ("norm1.", "ln_1."),
    ("norm2.", "ln_2."),
    ("mlp.fc1.", "mlp.0."),
    ("mlp.fc2.", "mlp.3."),
)


def _alias(name: str) -> str:
    block = re.fullmatch(r"blocks\.(\d+)\.([\w.]+)", name)
    if block:
        part = block.group(2)
        for old, new in _PARTS:
            if part.startswith(old):
                part = new + part[len(old) :]
        return f"encoder.layers.encoder_layer_{block.group(1)}.{part}"
    # The files that torchvision publishes were written when these were no sequence.
    name = name.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3.")
    return _TIMM.get(name, name)


ARCHITECTURE = base.Architecture(
    name="vit_b_16",
    library="torchvision",
    builder="vit_b_16",
    timm="vit_base_patch16_224",
    timm_only="cls_token",
    keras=None,
    size=224,
    head="heads.head",
    variants=(),
    norm_of=base.no_norm,
    biased=lambda _: True,
    alias=_alias,
)
