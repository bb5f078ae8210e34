"""Arrays of a file become exactly those that a network needs, or it is said which do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runner import architectures
from runner.errors import RunnerError
from runner.support import weights_folded

RESNET, MOBILE = architectures.find("resnet50"), architectures.find("mobilenet_v2")
NORM = ("weight", "bias", "running_mean", "running_var")
EXPECTED: dict[str, tuple[int, ...]] = {
    "conv1.weight": (4, 3, 7, 7),
    **{f"bn1.{own}": (4,) for own in NORM},
    "fc.weight": (5, 4),
    "fc.bias": (5,),
}


def arrays(shapes: Any = None) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        name: generator.standard_normal(shape).astype(np.float32)
        for name, shape in (shapes or EXPECTED).items()
    }


def folded() -> dict[str, np.ndarray]:
    return arrays({**{n: s for n, s in EXPECTED.items() if "bn1" not in n}, "conv1.bias": (4,)})


def refused(given: dict[str, np.ndarray], **changes: Any) -> str:
    with pytest.raises(RunnerError) as caught:
        weights_folded.complete(given, {**EXPECTED, **changes}, RESNET, 1e-5)
    assert caught.value.kind == "model"
    return caught.value.message


def test_whole_arrays_come_back_in_the_order_asked_for() -> None:
    given = arrays()
    given["bn1.num_batches_tracked"] = np.array(3)
    done = weights_folded.complete(dict(reversed(given.items())), EXPECTED, RESNET, 1e-5)
    assert list(done) == list(EXPECTED)
    assert all(np.array_equal(done[name], given[name]) for name in EXPECTED)


@pytest.mark.parametrize("epsilon", [1e-5, 1.001e-5, 1e-3])
def test_a_folded_convolution_gets_a_batch_norm_that_does_nothing_but_add(epsilon: float) -> None:
    given = folded()
    done = weights_folded.complete(given, EXPECTED, RESNET, epsilon)
    assert done["bn1.weight"].tolist() == [1, 1, 1, 1]
    assert done["bn1.running_mean"].tolist() == [0, 0, 0, 0]
    assert np.array_equal(done["bn1.bias"], given["conv1.bias"])
    variance = done["bn1.running_var"]
    assert variance.dtype == np.float32
    assert (variance + np.float32(epsilon)).tolist() == [1, 1, 1, 1]
    assert "conv1.bias" in given


def test_a_bias_that_only_the_framework_has_is_zeros() -> None:
    expected = {**EXPECTED, "conv1.bias": (4,)}
    for given in (arrays(), folded()):
        done = weights_folded.complete(given, expected, RESNET, 1e-5)
        assert done["conv1.bias"].tolist() == [0, 0, 0, 0]
        assert list(done) == list(expected)


def test_a_bias_that_the_network_itself_has_is_not_made_up() -> None:
    given = arrays()
    del given["fc.bias"]
    assert "1 missing: fc.bias" in refused(given)


def test_what_does_not_fit_is_listed_by_kind_and_counted() -> None:
    given = arrays()
    for own in NORM:
        del given[f"bn1.{own}"]
    given["fc.weight"] = given["fc.weight"].T
    given.update({f"more.{i}": np.zeros(1, np.float32) for i in range(7)})
    said = refused(given, **{f"layer9.{i}": (1,) for i in range(3)})
    assert said.startswith("the weights do not fit resnet50: ")
    assert (
        "7 missing: bn1.weight, bn1.bias, bn1.running_mean, bn1.running_var, layer9.0 and 2 more"
        in said
    )
    assert "7 unexpected: more.0, more.1, more.2, more.3, more.4 and 2 more" in said
    assert "1 of another shape: fc.weight [4, 5] instead of [5, 4]" in said


def test_quantised_arrays_are_refused() -> None:
    given = arrays()
    given["fc.weight"] = given["fc.weight"].astype(np.int8)
    assert "1 no floating-point numbers: fc.weight (int8)" in refused(given)


def test_half_and_double_precision_become_float32_and_sizes_of_one_are_reshaped() -> None:
    given = {name: array.astype(np.float64) for name, array in arrays().items()}
    given["fc.weight"] = given["fc.weight"].astype(np.float16)[:, :, None, None]
    done = weights_folded.complete(given, EXPECTED, RESNET, 1e-5)
    assert {array.dtype for array in done.values()} == {np.dtype(np.float32)}
    assert done["fc.weight"].shape == (5, 4)
    assert np.array_equal(done["fc.weight"], given["fc.weight"][:, :, 0, 0].astype(np.float32))


def test_an_array_under_two_names_is_refused() -> None:
    given = {"stem.weight": np.zeros(1), "features.0.0.weight": np.zeros(1)}
    with pytest.raises(RunnerError, match=r"hold features\.0\.0\.weight twice") as caught:
        weights_folded.canonical(given, MOBILE)
    assert caught.value.kind == "model"


def test_the_classes_are_counted_at_the_head() -> None:
    assert weights_folded.classes_of({"classifier.weight": np.zeros((1001, 1280))}, MOBILE) == 1001
    with pytest.raises(RunnerError, match="no weights of resnet50: the array of the logits, fc"):
        weights_folded.classes_of({"classifier.weight": np.zeros((1001, 1280))}, RESNET)


def test_a_batch_norm_that_no_variance_makes_the_identity_is_refused() -> None:
    with pytest.raises(RunnerError, match="can't be the identity"):
        weights_folded.identity_variance(float("nan"))


def test_what_is_for_training_only_is_left_out() -> None:
    given = {"fc.weight": np.zeros((3, 2)), "AuxLogits.fc.weight": np.zeros((3, 2))}
    assert list(weights_folded.canonical(given, architectures.find("inception_v3"))) == [
        "fc.weight"
    ]
    assert list(weights_folded.canonical(given, RESNET)) == list(given)


def test_a_square_kernel_in_another_layout_does_not_pass_for_a_reshaped_one() -> None:
    expected = {**EXPECTED, "layer1.0.conv1.weight": (4, 4, 1, 1)}
    given = arrays(expected)
    given["layer1.0.conv1.weight"] = given["layer1.0.conv1.weight"].transpose(2, 3, 1, 0)
    said = refused(given, **expected)
    assert "layer1.0.conv1.weight [1, 1, 4, 4] instead of [4, 4, 1, 1]" in said


def test_a_scale_may_carry_last_dimensions_of_one() -> None:
    expected = {**EXPECTED, "bn1.weight": (4, 1, 1)}
    done = weights_folded.complete(arrays(), expected, RESNET, 1e-5)
    assert done["bn1.weight"].shape == (4, 1, 1)
