"""torchvision's own decoder, made up here: no build of it loads beside the CPU's PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner import preprocessors
from runner.prepare_jobs import Geometry
from runner.preprocessors.base import ImageError

AS_IT_IS = Geometry(2, 3, 2, 3, "bilinear")
OWN = {"decoder": "torch", "tensor": True, "antialias": True}
ROWS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


class Tensor:
    """As much of a tensor as the preprocessor takes."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self.shape, self.ndim = self.values.shape, self.values.ndim
        self.dtype = f"torch.{self.values.dtype}"

    def permute(self, *axes: int) -> Tensor:
        return Tensor(self.values.transpose(axes))

    def numpy(self) -> np.ndarray:
        return self.values


Make = Callable[[Callable[[Any], Any]], ModuleType]


@pytest.fixture
def with_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """The preprocessor's module over a torchvision whose decoder is a function."""

    def make(decode: Callable[[Any], Any]) -> ModuleType:
        def decode_image(data: Any, mode: str | None = None) -> Any:
            # Without a mode: the pixel that the module tries at its import.
            assert mode in (None, "RGB")
            return decode(data) if mode else Tensor(np.zeros((3, 1, 1), np.uint8))

        modules = {
            "torch": {
                "Tensor": Tensor,
                "uint8": "torch.uint8",
                "tensor": lambda values, **_: Tensor(values),
                "from_numpy": Tensor,
                "__version__": "2.13.0",
            },
            "torchvision": {"__version__": "0.28.0"},
            "torchvision.transforms": {"functional": SimpleNamespace()},
            "torchvision.io": {
                "decode_image": decode_image,
                "ImageReadMode": SimpleNamespace(RGB="RGB"),
            },
        }
        for name, content in modules.items():
            module = ModuleType(name)
            vars(module).update(content)
            monkeypatch.setitem(sys.modules, name, module)
        for name in ("runner.support.torch_vision", "runner.preprocessors.torchvision"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return preprocessors.load("torchvision")

    yield make
    for name in ("runner.support.torch_vision", "runner.preprocessors.torchvision"):
        sys.modules.pop(name, None)


def test_it_is_offered_where_it_loads(with_decoder: Make) -> None:
    module = with_decoder(Tensor)
    assert module.SETTINGS["decoder"] == ("pil", "torch")
    assert module.DETAILS == {}
    assert preprocessors.effective("torchvision", module, {"decoder": "torch"})["tensor"] is False


def test_its_tensor_becomes_rows_and_columns(with_decoder: Make) -> None:
    seen = []

    def decode(data: Tensor) -> Tensor:
        seen.append(data.values.tobytes())
        return Tensor(ROWS.transpose(2, 0, 1))

    pixels = with_decoder(decode).decode_and_fit(b"bytes", AS_IT_IS, OWN)
    assert seen == [b"bytes"]
    assert np.array_equal(pixels, ROWS)


def test_sixteen_bits_are_a_reason_and_no_pixels(with_decoder: Make) -> None:
    module = with_decoder(lambda _data: Tensor(np.zeros((3, 2, 3), np.uint16)))
    with pytest.raises(ImageError, match=r"decodes it to uint16 \[3, 2, 3\], not uint8 RGB"):
        module.decode_and_fit(b"bytes", AS_IT_IS, OWN)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, OSError])
def test_its_words_are_the_reason(with_decoder: Make, kind: type[Exception]) -> None:
    def refuse(_data: Any) -> Tensor:
        raise kind("Unsupported image file.\n Only jpeg, png, webp and gif")

    with pytest.raises(ImageError, match=r"decoded: Unsupported image file\. Only jpeg"):
        with_decoder(refuse).decode_and_fit(b"bytes", AS_IT_IS, OWN)
