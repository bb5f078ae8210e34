"""Exported programs (`.pt2`): what is read of them, and what is refused."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError
from harness.models.inspect import inspect_model


def _value(*sizes: int | str, dtype: int = 7) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "sizes": [
            {"as_int": size} if isinstance(size, int) else {"as_expr": {"expr_str": size}}
            for size in sizes
        ],
    }


def _program() -> dict[str, Any]:
    return {
        "graph_module": {
            "graph": {
                "nodes": [{"target": "torch.ops.aten.linear.default"}],
                "tensor_values": {
                    "w": _value(10, 48),
                    "x": _value("Symbol('s0', integer=True)", 3, 4, 4),
                    "scores": _value("Symbol('s0', integer=True)", 10, dtype=6),
                },
            },
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "w"}, "parameter_name": "w"}},
                    {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
                ],
                "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "scores"}}}}],
            },
        },
        "guards_code": [],
    }


def _pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(value))
    return stream.getvalue()


def _members(**changed: Any) -> dict[str, Any]:
    weight = {"path_name": "weight_0", "is_param": True, "use_pickle": False}
    return {
        "archive_format": b"pt2",
        "models/model.json": _program(),
        "data/weights/weight_0": b"\0" * 1920,
        "data/weights/model_weights_config.json": {"config": {"w": weight}},
        "data/constants/model_constants_config.json": {"config": {}},
        "data/sample_inputs/model.pt": _pickled(((), {})),
        **changed,
    }


def _write(path: Path, members: dict[str, Any], root: str = "net/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                text = content if isinstance(content, bytes) else json.dumps(content).encode()
                archive.writestr(f"{root}{name}", text)
    return path


@pytest.mark.parametrize("root", ["net/", ""])
def test_inputs_and_outputs_are_read_with_open_sizes(tmp_path: Path, root: str) -> None:
    file = inspect_model(_write(tmp_path / "net.pt2", _members(), root))
    assert (file.format, file.opset, file.external_files) == ("pt2", None, ())
    assert [tensor.shown() for tensor in file.inputs] == ["x float32 [?, 3, 4, 4]"]
    assert [tensor.shown() for tensor in file.outputs] == ["scores float16 [?, 10]"]
    assert file.size_bytes == (tmp_path / "net.pt2").stat().st_size


def test_under_another_suffix_it_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="it is an exported program of PyTorch") as caught:
        inspect_model(_write(tmp_path / "net.pth", _members()))
    assert caught.value.remedy == "Rename it to net.pt2."


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def _changed_program(**parts: Any) -> dict[str, Any]:
    program = _program()
    program["graph_module"]["signature"].update(parts)
    return program


_WEIGHT = {"path_name": "weight_0", "use_pickle": True}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"archive_format": None, "x/serialized_exported_program.json": {}}, "before 2.8"),
        ({"archive_format": b"aoti"}, "its archive_format is not pt2"),
        ({"models/model.json": b"{"}, "model.json is garbled"),
        ({"models/model.json": []}, "model.json is garbled"),
        ({"models/model.json": {}}, "its graph makes no sense"),
        ({"models/model.json": None, "models": b""}, "models/*.json is missing"),
        ({"models/other.json": {}}, "holds 2 programs"),
        ({"data/weights/weight_0": None}, "its weights lack 'w'"),
        ({"data/weights/model_weights_config.json": None}, "weights_config.json is missing"),
        ({"data/weights/model_weights_config.json": {"config": 1}}, "list of its weights"),
        ({"data/weights/model_weights_config.json": {"config": {"w": _WEIGHT}}}, "as a pickle"),
        (
            {
                "data/constants/custom_obj_0": b"",
                "data/constants/model_constants_config.json": {
                    "config": {"c": {"path_name": "custom_obj_0", "use_pickle": False}}
                },
            },
            "holds 'c' as a pickle",
        ),
        ({"data/sample_inputs/model.pt": None}, "model.pt is missing"),
        ({"data/sample_inputs/model.pt": b"rubbish"}, "no archive of PyTorch"),
        ({"data/sample_inputs/model.pt": _pickled(_Runs())}, "wants to run builtins.print"),
        ({"models/model.json": _changed_program(input_specs=[])}, "takes 0 inputs"),
        (
            {
                "models/model.json": _changed_program(
                    output_specs=[{"user_output": {"arg": {"as_none": True}}}]
                )
            },
            "no tensor (as_none)",
        ),
        ({"models/model.json": {**_program(), "guards_code": ["exit()"]}}, "guard 'exit()'"),
    ],
)
def test_what_cannot_be_read_or_would_run_is_refused(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    path = _write(tmp_path / "net.pt2", _members(**changed))
    with pytest.raises(ModelError) as caught:
        inspect_model(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "net.pt2", _members())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="truncated or not"):
        inspect_model(path)
