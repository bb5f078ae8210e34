"""Reading exported PyTorch programs (`.pt2`): what they take and give, without PyTorch.

The archive of `torch.export.save` since PyTorch 2.8 (`torch/export/pt2_archive`): the program as
JSON, each weight as plain bytes. Nothing is loaded; what would run code is refused by name.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.canonical import sha256_file
from harness.errors import ModelError
from harness.models.model_file import ModelFile, TensorSpec, listed, not_whole
from harness.models.program_code import foreign_code
from harness.models.torch_file import refuse_code
from harness.models.zip_archive import Archive, open_archive

_KIND = "an exported PyTorch"
_MOST_JSON_BYTES = 256 * 1024**2
_MOST_SAMPLE_BYTES = 1024**3
_REMEDY = (
    "Export it where you trust it, to ONNX (torch.onnx.export), or as a program of plain tensors."
)
# The numbers of `torch/_export/serde/schema.py`, ScalarType.
_DTYPES = dict(
    enumerate(
        (
            *("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
            *("complex32", "complex64", "complex128", "bool", "bfloat16"),
        ),
        start=1,
    )
)


def read_program(path: Path) -> ModelFile:
    """Read a `.pt2` file.

    Raises:
        ModelError: not a whole file, one of PyTorch before 2.8, several programs in one file,
            inputs or outputs that are no tensors, or code that would run when it is loaded.
    """
    with open_archive(path, _KIND) as archive:
        root = _root(path, archive)
        name, program = _program(path, archive, root)
        archive.check_content()
        _check_weights(path, archive, root, name)
        _check_samples(path, archive, f"{root}data/sample_inputs/{name}.pt")
    foreign = sorted(set(foreign_code(program)))
    if foreign:
        raise ModelError(
            f"{path} holds what no exporter writes and what would run when it is loaded: "
            f"{listed(foreign)}. It was not opened.",
            _REMEDY,
        )
    try:
        inputs, outputs = _ends(path, program)
    # The JSON is a person's to change: a garbled one fails in one of these ways.
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise not_whole(path, _KIND, "what it says of its graph makes no sense") from error
    return ModelFile(
        path=path,
        format="pt2",
        sha256=sha256_file(path),
        inputs=inputs,
        outputs=outputs,
        opset=None,
        ir_version=None,
        external_files=(),
        size_bytes=path.stat().st_size,
    )


def _root(path: Path, archive: Archive) -> str:
    """The folder that PyTorch names after the file; empty, or with a slash at its end."""
    for member in archive.members:
        if posixpath.basename(member) == "serialized_exported_program.json":
            raise ModelError(
                f"{path} is a program in the archive of PyTorch before 2.8, which is not read.",
                "Load it with the PyTorch that wrote it and export it to ONNX, or export the model "
                "again with PyTorch 2.8 or later.",
            )
        if posixpath.basename(member) == "archive_format":
            root = member.removesuffix("archive_format")
            if archive.read(member, 64).strip() != b"pt2":
                raise not_whole(path, _KIND, "its archive_format is not pt2")
            return root
    raise not_whole(path, _KIND, "its archive_format is missing")


def _program(path: Path, archive: Archive, root: str) -> tuple[str, dict[str, Any]]:
    """The name of the only program, and its document."""
    found = [name for name in archive.members if name.startswith(f"{root}models/")]
    if not found:
        raise not_whole(path, _KIND, "its models/*.json is missing")
    if len(found) > 1:
        raise ModelError(
            f"{path} holds {len(found)} programs: {listed(found)}.",
            "Save the one to be measured alone: torch.export.save(program, 'model.pt2').",
        )
    name = posixpath.basename(found[0]).removesuffix(".json")
    return name, _document(path, archive, found[0])


def _document(path: Path, archive: Archive, member: str) -> dict[str, Any]:
    if member not in archive.members:
        raise not_whole(path, _KIND, f"its {member} is missing")
    try:
        document = json.loads(archive.read(member, _MOST_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise not_whole(path, _KIND, f"its {member} is garbled") from error
    if not isinstance(document, dict):
        raise not_whole(path, _KIND, f"its {member} is garbled")
    return document


def _check_weights(path: Path, archive: Archive, root: str, name: str) -> None:
    """Every weight and constant is plain bytes that are there."""
    for kind in ("weights", "constants"):
        folder = f"{root}data/{kind}/"
        config = _document(path, archive, f"{folder}{name}_{kind}_config.json").get("config")
        if not isinstance(config, dict):
            raise not_whole(path, _KIND, f"the list of its {kind} is garbled")
        for own, payload in config.items():
            place = payload.get("path_name") if isinstance(payload, dict) else None
            if not isinstance(place, str) or f"{folder}{place}" not in archive.members:
                raise not_whole(path, _KIND, f"its {kind} lack {own!r}")
            if payload.get("use_pickle") is not False or not place.startswith(
                ("weight_", "tensor_")
            ):
                raise ModelError(
                    f"{path} holds {own!r} as a pickle, which would run code when it is loaded. "
                    "It was not opened.",
                    _REMEDY,
                )


def _check_samples(path: Path, archive: Archive, member: str) -> None:
    """The inputs that it was exported with are a pickle, which may hold nothing but tensors."""
    if member not in archive.members:
        raise not_whole(path, _KIND, f"its {member} is missing")
    content = archive.read(member, _MOST_SAMPLE_BYTES)
    if content:
        refuse_code(path, content)


def _ends(
    path: Path, program: Mapping[str, Any]
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    values = graph["tensor_values"]
    inputs = tuple(
        _spec(path, one["user_input"]["arg"], values)
        for one in signature["input_specs"]
        if "user_input" in one
    )
    outputs = tuple(
        _spec(path, one["user_output"]["arg"], values)
        for one in signature["output_specs"]
        if "user_output" in one
    )
    if not inputs or not outputs:
        raise ModelError(
            f"{path} takes {len(inputs)} inputs and gives {len(outputs)} outputs.",
            "Export a model that takes an image and gives scores.",
        )
    return inputs, outputs


def _spec(path: Path, argument: Mapping[str, Any], values: Mapping[str, Any]) -> TensorSpec:
    if "as_tensor" not in argument:
        raise ModelError(
            f"{path} has an input or output that is no tensor ({', '.join(argument)}).",
            "Export a model whose inputs and outputs are tensors alone.",
        )
    name = argument["as_tensor"]["name"]
    value = values[name]
    return TensorSpec(
        name=str(name),
        dtype=_DTYPES.get(value["dtype"], f"dtype {value['dtype']}"),
        shape=tuple(_sizes(value["sizes"])),
    )


def _sizes(sizes: list[Mapping[str, Any]]) -> Iterator[int | None]:
    """A size that is an expression is open."""
    for size in sizes:
        yield int(size["as_int"]) if "as_int" in size else None
