"""What is known about an architecture: data and small functions, no framework.

Canonical array names and layouts are those of the `state_dict` of the canonical builder in PyTorch:
convolutions [out, in / groups, height, width], linear layers [out, in].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Tuple, Union

Value = Union[str, float]


@dataclass(frozen=True)
class Variant:
    """One way in which a network of this architecture may differ from the library's own.

    `values` are the words allowed; empty for a number above zero. `torch` is what the canonical
    builder's module does. `keras` is what Keras's does; None where Keras has no such network.
    `timm` is what timm's does; None where that is as `torch`.
    """

    key: str
    values: Tuple[str, ...]
    torch: Value
    keras: Optional[Value]
    timm: Optional[Value] = None

    def native(self, library: str) -> Optional[Value]:
        """What the module of a library does: `torch` (the canonical one), `timm` or `keras`."""
        if library == "keras":
            return self.keras
        return self.timm if library == "timm" and self.timm is not None else self.torch


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        name: as used everywhere in the project.
        library: of the canonical builder, `torchvision` or `timm`.
        builder: the canonical builder's name there.
        timm: timm's name of the same architecture, or None.
        keras: the builder's name in `keras.applications`, or None.
        size: height and width in pixels that it was designed for.
        head: the prefix of the layer that gives the logits; `{head}.weight` is [classes, …].
        variants: those that apply.
        norm_of: the prefix of the batch norm that takes the output of the convolution with this
            prefix and nothing else, so that it can be folded into it; None where there is none.
        biased: whether the canonical layer with this prefix has a bias of its own.
        alias: the canonical name of an array for another name that it is known by (timm's, older
            files', folded files'); a name that it does not know comes back as it is.
        ignored: prefixes of arrays that inference does not need.
        timm_only: an array that only timm calls so; None where the libraries use the same names.
    """

    name: str
    library: str
    builder: str
    timm: Optional[str]
    keras: Optional[str]
    size: int
    head: str
    variants: Tuple[Variant, ...]
    norm_of: Callable[[str], Optional[str]]
    biased: Callable[[str], bool]
    alias: Callable[[str], str]
    ignored: Tuple[str, ...] = ()
    timm_only: Optional[str] = None

    @property
    def libraries(self) -> Tuple[str, ...]:
        """Those of PyTorch that have it, the canonical one first."""
        other = ("timm",) if self.timm and self.library != "timm" else ()
        return (self.library, *other)

    def variant(self, key: str) -> Optional[Variant]:
        """The variant of this key, or None if it does not apply."""
        return next((variant for variant in self.variants if variant.key == key), None)


def padding(torch: str, keras: Optional[str]) -> Variant:
    """Zeros at stride 2: `same` as TensorFlow puts them (more at the end), or `symmetric`."""
    return Variant("padding", ("same", "symmetric"), torch, keras)


def batch_norm_epsilon(
    torch: float, keras: Optional[float], timm: Optional[float] = None
) -> Variant:
    """What is added to the variance in every batch norm."""
    return Variant("batch_norm_epsilon", (), torch, keras, timm)


def no_norm(prefix: str) -> Optional[str]:
    """`norm_of` where no batch norm can be folded."""
    del prefix


def next_number(prefix: str) -> Optional[str]:
    """`norm_of` where a batch norm is the next module of a sequence: `features.0.0` to `.0.1`."""
    start, _, last = prefix.rpartition(".")
    return f"{start}.{int(last) + 1}" if start and last.isdigit() else None


def same_name(name: str) -> str:
    """`alias` where an architecture is known by one set of names only."""
    return name


def split(name: str) -> Tuple[str, str]:
    """The layer's prefix and the array's own name: `features.0.0`, `weight`."""
    prefix, _, own = name.rpartition(".")
    return prefix, own
