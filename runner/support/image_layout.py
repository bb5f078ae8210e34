"""Where the channels of a converter's input are, told by its shape, and how it is transposed."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from runner.backends.base import unsupported

LAYOUTS = ("nchw", "nhwc")
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)

_CHANNELS = (1, 3, 4)
_IMAGES = 4


def layout_of(sizes: Sequence[Optional[int]]) -> Optional[str]:
    """The layout of images of a shape; None where the shape does not tell."""
    if len(sizes) != _IMAGES:
        return None
    first, last = sizes[1] in _CHANNELS, sizes[3] in _CHANNELS
    if first == last:
        return None
    return "nchw" if first else "nhwc"


def axes(
    converter: str,
    called: str,
    sizes: Sequence[Optional[int]],
    layout: str,
    told: Optional[str] = None,
) -> Optional[Tuple[int, ...]]:
    """How an input is transposed to have the layout asked for; None where it has it already.

    Args:
        converter: for messages.
        called: the input.
        sizes: its shape.
        layout: that is asked for.
        told: by somebody else, where the shape does not tell.

    Raises:
        RunnerError: kind `unsupported`, if nothing tells where the channels are.
    """
    there = layout_of(sizes) or told
    if there is None:
        raise unsupported(
            converter,
            "layout",
            layout,
            (),
            why=f"the input {called!r} of {list(sizes)} does not tell where its channels are",
        )
    if there == layout:
        return None
    return TO_NHWC if layout == "nhwc" else TO_NCHW
