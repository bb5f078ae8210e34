"""The format `ncnn` as one file, and loading it: an uncompressed zip of what ncnn reads.

    model.param   the layers, as text
    model.bin     the weights, float32
    tensors.json  {"input": tensor, "outputs": [tensor, ...]}; a tensor is {"name", "shape", "blob"}:
                  as in the model that was converted, and what it is called in model.param

ncnn's own files know neither the batch nor the names that tensors had before the conversion.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from runner.backends.base import require_file
from runner.errors import RunnerError, classify

_PARAM, _BIN, _TENSORS = "model.param", "model.bin", "tensors.json"

_REDUCED = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
)
# Older versions have no such option, and no such kernels either.
_RECENT = ("use_bf16_packed",)


class Tensor(NamedTuple):
    """Name and whole shape (the batch of 1 included) before the conversion, and ncnn's own name."""

    name: str
    shape: Tuple[int, ...]
    blob: str


class Tensors(NamedTuple):
    """What goes in and what comes out."""

    input: Tensor
    outputs: Tuple[Tensor, ...]


def write(path: str, param: str, weights: str, tensors: Tensors) -> None:
    """Put ncnn's two files and the description of the tensors into one."""
    about = {
        "input": tensors.input._asdict(),
        "outputs": [output._asdict() for output in tensors.outputs],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, source in ((_PARAM, param), (_BIN, weights)):
            with open(source, "rb") as part, file.open(
                _dateless(name), "w", force_zip64=True
            ) as to:
                shutil.copyfileobj(part, to)
        file.writestr(_dateless(_TENSORS), json.dumps(about, indent=1))


def read_tensors(path: str) -> Tensors:
    """The description of the tensors.

    Raises:
        RunnerError: kind `model`, if the file is absent or is no such zip.
    """
    require_file(path)
    try:
        with zipfile.ZipFile(path) as file:
            about = json.loads(file.read(_TENSORS).decode("utf-8"))
        return Tensors(_tensor(about["input"]), tuple(_tensor(one) for one in about["outputs"]))
    except Exception as error:
        raise _unreadable(path, error) from error


def layers(path: str) -> bytes:
    """The description of the layers, as ncnn's own text.

    Raises:
        RunnerError: kind `model`, if the file can't be read.
    """
    return _part(path, _PARAM)


def weights(path: str) -> bytes:
    """The weights, as ncnn's own bytes.

    Raises:
        RunnerError: kind `model`, if the file can't be read.
    """
    return _part(path, _BIN)


def load(ncnn: Any, path: str, options: Mapping[str, Any]) -> Any:
    """A loaded `ncnn.Net` with these options.

    Args:
        ncnn: the module.
        path: a file of this format.
        options: attributes of `ncnn.Option`, which hold for everything that is loaded after them.

    Raises:
        RunnerError: kind `unsupported` for an option or a layer that this version does not have,
            `model` for a file that it refuses.
    """
    net = ncnn.Net()
    for name, value in options.items():
        if not hasattr(net.opt, name):
            message = f"ncnn {ncnn.__version__} has no option {name}: take a newer ncnn"
            raise RunnerError("unsupported", message)
        setattr(net.opt, name, value)
    with tempfile.TemporaryDirectory(prefix="ncnn-") as folder:
        param, weights = os.path.join(folder, _PARAM), os.path.join(folder, _BIN)
        try:
            with zipfile.ZipFile(path) as file:
                for name, where in ((_PARAM, param), (_BIN, weights)):
                    with file.open(name) as entry, open(where, "wb") as part:
                        shutil.copyfileobj(entry, part)
        except Exception as error:
            raise _unreadable(path, error) from error
        if net.load_param(param) != 0:
            require_layers(ncnn, path, param)
            message = f"{path}: ncnn {ncnn.__version__} refuses the description of its layers"
            raise RunnerError("model", message)
        if net.load_model(weights) != 0:
            raise RunnerError("model", f"{path}: ncnn {ncnn.__version__} can't load the weights")
    return net


def infer(ncnn: Any, net: Any, tensors: Tensors, batch: Any) -> List[Any]:
    """One image through the net: [1, ...] to the outputs, each a copy in its own shape.

    Raises:
        RunnerError: kind `backend`, if an output can't be computed.
    """
    extractor = net.create_extractor()
    # ncnn crashes where its first layer works in place on memory that is not its own.
    extractor.input(tensors.input.blob, ncnn.Mat(batch[0]).clone())
    results = []
    for name, shape, blob in tensors.outputs:
        status, output = extractor.extract(blob)
        if status != 0:
            raise RunnerError("backend", f"ncnn could not compute {name!r} (status {status})")
        results.append(np.array(output).reshape(shape))
    return results


def reduced_options(ncnn: Any) -> List[str]:
    """The options for 16-bit kernels that this version has; `f32` is all of them off.

    Raises:
        RunnerError: kind `unsupported`, if one is gone: `f32` could then not be promised.
    """
    option = ncnn.Net().opt
    missing = [name for name in _REDUCED if not hasattr(option, name) and name not in _RECENT]
    if missing:
        raise RunnerError(
            "unsupported", f"ncnn {ncnn.__version__} has no option {', '.join(missing)}"
        )
    return [name for name in _REDUCED if hasattr(option, name)]


def layer_types(param: str) -> List[str]:
    """The kinds of the layers in the text of a `.param` file, in order."""
    lines = [line.split() for line in param.splitlines()[2:]]
    return [words[0] for words in lines if words]


def require_layers(ncnn: Any, path: str, param: str) -> None:
    """Refuse a `.param` file with layers that this version of ncnn does not have.

    A converter leaves an operator that it can't translate as it is, under its own name.

    Args:
        ncnn: the module.
        path: the model that the refusal is about.
        param: the file.

    Raises:
        RunnerError: kind `unsupported`.
    """
    with open(param, encoding="utf-8", errors="replace") as file:
        types = sorted(set(layer_types(file.read())))
    unknown = [kind for kind in types if ncnn.layer_to_index(kind) < 0]
    if unknown:
        raise RunnerError(
            "unsupported",
            f"{path}: ncnn {ncnn.__version__} has no layer for {', '.join(unknown)}; take a newer "
            "ncnn if that has, or run this model by another stack",
        )


def _part(path: str, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as file:
            return file.read(name)
    except Exception as error:
        raise _unreadable(path, error) from error


def _dateless(name: str) -> zipfile.ZipInfo:
    """An entry with the earliest date there is, so that the same model is the same file."""
    return zipfile.ZipInfo(name)


def _tensor(about: Dict[str, Any]) -> Tensor:
    shape = tuple(int(size) for size in about["shape"])
    return Tensor(str(about["name"]), shape, str(about["blob"]))


def _unreadable(path: str, error: Exception) -> RunnerError:
    refused = classify(error, "model")
    message = f"{path} is not what onnx>ncnn writes, or is truncated: {refused.message}"
    return RunnerError(refused.kind, message, refused.detail)
