"""Imports torchvision, and what builds on it, also beside a CPU build of PyTorch."""

from __future__ import annotations

import sys
from typing import Any, List

import torch

_kept: List[Any] = []
"""Library definitions live as long as the object that made them."""


def declare_operators() -> None:
    """Make `import torchvision` work where its compiled operators do not load.

    They may not beside a CPU build of PyTorch; torchvision's Python part then fails to register
    shapes for `nms` unless somebody has declared the operator. Declaring it is enough: a model that
    calls it still fails, loudly. Where torchvision is absent, nothing happens.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(operator + signature)
        _kept.append(library)
    except ImportError:
        pass


def import_torchvision() -> Any:
    """The module torchvision."""
    declare_operators()
    import torchvision

    return torchvision


def import_timm() -> Any:
    """The module timm, which imports torchvision."""
    declare_operators()
    import timm

    return timm
