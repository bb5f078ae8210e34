"""Fingerprints of PyTorch's and Keras's programs on made-up libraries: what changes them and what not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import fake_torch as fake

from runner.support import elf_code, predict_fingerprint, tensorflow_operators

OPERATORS = {"relu": 1}


class Weight:
    """A tensor as a fingerprint reads it."""

    is_mkldnn = False

    def __init__(self, values: Any, strides: tuple[int, ...] = (1,)) -> None:
        self.values, self.strides = np.asarray(values, np.float32), strides

    def detach(self) -> Weight:
        return self

    cpu = contiguous = flatten = detach

    def stride(self) -> tuple[int, ...]:
        return self.strides

    def view(self, dtype: Any) -> Any:
        return SimpleNamespace(numpy=lambda: self.values.view(dtype))


@pytest.fixture
def forms(with_framework: Callable[..., ModuleType]) -> Iterator[ModuleType]:
    """The module `torch_fingerprint` over a made-up PyTorch."""
    fake.forget_shared_parts()
    torch = fake.fake_torch()
    torch.__dict__["uint8"] = np.uint8
    yield with_framework("runner.support.torch_fingerprint", **fake.modules(torch))
    fake.forget_shared_parts()


def test_the_kernels_chosen_weights_and_their_layout_are_part_of_an_eager_program(
    forms: ModuleType,
) -> None:
    def of(
        weight: Weight, operators: dict[str, int] = OPERATORS, about: str = "onednn=True"
    ) -> str:
        module = SimpleNamespace(
            graph="%relu = call[target=relu](%x)  # a.py:7",
            named_parameters=lambda: [("w", weight)],
            named_buffers=list,
            named_modules=list,
        )
        return str(forms.of_program(module, operators, [about]).sha256)

    usual = of(Weight([1, 2]))
    assert usual == of(Weight([1, 2]))
    others = (
        of(Weight([1, 3])),
        of(Weight([1, 2], (2,))),
        of(Weight([1, 2]), {"relu (oneDNN)": 1}),
        of(Weight([1, 2]), about="onednn=False"),
    )
    assert len({usual, *others}) == 5


def test_names_and_places_in_sources_are_no_part_of_a_script(forms: ModuleType) -> None:
    def of(graph: str) -> str:
        return str(forms.of_script(graph, [], OPERATORS, []).sha256)

    first = of("graph(%x.1 : Tensor):\n  %7 : Tensor = aten::relu(%x.1) # /a/model.py:3:0\n")
    assert first == of("graph(%in : Tensor):\n  %9 : Tensor = aten::relu(%in) # /b/other.py:9:1\n")
    assert first != of("graph(%in : Tensor):\n  %9 : Tensor = aten::elu(%in)\n")


def test_folders_and_comments_are_no_part_of_inductors_code_and_machine_code_is(
    forms: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = [b"\x90"]
    monkeypatch.setattr(elf_code, "executed", lambda _: list(code))

    def of(source: str, folder: str) -> Any:
        return forms.of_inductor([source], folder, [("w", Weight([1]))], OPERATORS, [])

    first = of('# made at noon\n#include "/tmp/one/a.h"\nreturn 1;\n', "/tmp/one")
    assert first == of('# at night\n#include "/work/b/a.h"\nreturn 1;\n', "/work/b")
    assert first != of('#include "/tmp/one/a.h"\nreturn 2;\n', "/tmp/one")
    assert first.code_bytes == 1
    code[:] = [b"\x91"]
    assert first != of('#include "/tmp/one/a.h"\nreturn 1;\n', "/tmp/one")


class Predicts:
    """A Keras model, as its fingerprint asks it."""

    run_eagerly, jit_compile = False, False

    def __init__(self, weight: int = 1) -> None:
        self.weight, self.made = weight, 0

    def get_weights(self) -> list[np.ndarray]:
        return [np.full(2, self.weight)]

    def make_predict_function(self, *, force: bool) -> None:
        self.made += force


def test_keras_on_tensorflow_makes_its_function_anew_and_counts_xlas_flags_where_it_compiles(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorflow_operators, "record_graphs", lambda call: (call(), []))
    prove = predict_fingerprint.by_tensorflow(["onednn=True"])

    def of(model: Predicts) -> str:
        found = prove(model, lambda: None, str(tmp_path))
        assert model.made == 1
        return found.sha256

    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    compiled = Predicts()
    compiled.jit_compile = True
    first, by_xla = of(Predicts()), of(compiled)
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=2")
    compiled.made = 0
    assert len({first, by_xla, of(compiled), of(Predicts(weight=2))}) == 4
    assert of(Predicts()) == first


def test_keras_on_pytorch_is_known_by_its_kernels_and_weights(tmp_path: Any) -> None:
    def of(operators: dict[str, int], weight: int = 1) -> str:
        prove = predict_fingerprint.by_torch(lambda _: operators)
        return prove(Predicts(weight), lambda: None, str(tmp_path)).sha256

    assert of(OPERATORS) == of(dict(OPERATORS))
    assert len({of(OPERATORS), of({"relu (oneDNN)": 1}), of(OPERATORS, 2)}) == 3
