"""The same really trained weights, native in every framework."""

from __future__ import annotations

from pathlib import Path

from support.command import Harness

COUNT = 8
# float32 differs in the sixth digit from stack to stack; the logits go up to 20.
ROUNDING = 1e-4


def weights(data: Path, *more: object) -> tuple[object, ...]:
    return (
        *("sweep", "--model", data / "models/mobilenet_v2_1.0_224_tf.weights.npz"),
        *("--architecture", "mobilenet_v2", "--recipe", "tf", "--class-offset", 1),
        *("--data", data / "data/imagenet-sample/val", "--limit", COUNT),
        *("--executor", "venv", "--no-timing", "--json", *more),
    )


def test_transplanted_weights_give_the_same_answers_everywhere(
    harness: Harness, real_data: Path
) -> None:
    done = harness(
        *weights(real_data, "--variant", "padding=same"),
        *("--env", "onnxruntime-1.31", "--env", "torch-2.13", "--env", "tensorflow-2.21"),
        *("--env", "litert-2.3"),
    )
    assert done.status == 0, done.err
    result = done.json
    assert [(c["environment"], c["route"]) for c in result["cells"]] == [
        ("onnxruntime-1.31", "weights>onnx"),
        ("torch-2.13", "weights>torch"),
        ("tensorflow-2.21", "weights>keras"),
        ("litert-2.3", "weights>tflite"),
    ]
    assert {cell["variant"]["padding"] for cell in result["cells"]} == {"same"}
    for pair in result["pairs"]:
        assert pair["flips"] == 0, pair
        if pair["agreement"] is not None:
            assert pair["max_abs_diff"] < ROUNDING, pair


def test_symmetric_padding_is_the_silent_mistake(harness: Harness, real_data: Path) -> None:
    done = harness(
        *weights(real_data, "--variant", "padding=same", "--variant", "padding=symmetric"),
        *("--env", "torch-2.13"),
    )
    assert done.status == 0, done.err
    [pair] = done.json["pairs"]
    assert pair["axes"] == ["variant"]
    assert pair["max_abs_diff"] > 1


def test_a_variant_that_there_is_not_is_refused_before_anything_is_built(
    harness: Harness, real_data: Path
) -> None:
    done = harness(*weights(real_data, "--variant", "padding=valid", "--env", "torch-2.13"))
    assert done.status == 2
    assert "The variant padding of mobilenet_v2 cannot be 'valid'." in done.err
    assert "It is one of same, symmetric." in done.err


def test_weights_of_another_network_are_told_by_their_arrays(
    harness: Harness, real_data: Path
) -> None:
    done = harness(
        *("sweep", "--model", real_data / "models/squeezenet1.1_224.weights.npz"),
        *("--architecture", "resnet50", "--recipe", "torch"),
        *("--data", real_data / "data/imagenet-sample/val", "--limit", 2),
        *("--executor", "venv", "--no-timing", "--json", "--env", "torch-2.13"),
    )
    assert done.status in {2, 4}
    assert "fire2.squeeze" in done.err + str(done.json if done.out else "")
