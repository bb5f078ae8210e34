"""Runs onnx2tf: in a folder of its own, kept from the network, and with its reasons when it fails."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from importlib import import_module
from typing import Any, Iterator, List, TextIO

import numpy as np

from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob
from runner.support import keras_engine, onnx2tf_source
from runner.support.onnx2tf_source import OpenShape

_SIMPLIFIER = "onnxsim"
_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def import_onnx2tf() -> Any:
    """The module onnx2tf, which silences all warnings; not beyond this."""
    with warnings.catch_warnings(), keras_engine.variables_put_back():
        warnings.simplefilter("ignore")
        keras_engine.prepare_environment(os.environ, "tensorflow")
        return import_module("onnx2tf")


def convert(
    job: ConvertJob, name: str, source: Any, shape: OpenShape, turned: bool, folding: bool
) -> Any:
    """The model of Keras 2 that onnx2tf builds; it answers in layouts of its own choice.

    Args:
        job: the conversion; onnx2tf works below its folder.
        name: the converter's.
        source: `onnx.ModelProto` of one input.
        shape: of the whole input, None for an open batch.
        turned: whether the channels of the input go last.
        folding: whether onnx2tf has the model simplified first.

    Raises:
        RunnerError: as `refusal`; `conversion` if the model can't be simplified.
    """
    copy = type(source)()
    copy.CopyFrom(source)
    names = onnx2tf_source.input_names(source, name)
    kept = {"keep_shape_absolutely_input_names": names}
    if job.options.get("layout") == "nchw":
        kept = {"keep_ncw_or_nchw_or_ncdhw_input_names": names}
    with tempfile.TemporaryDirectory(prefix="onnx2tf-", dir=job.work) as folder:
        path = os.path.join(folder, "model.onnx")
        onnx2tf_source.write(copy, shape, path, name)
        said = _Said(sys.stdout)
        try:
            with warnings.catch_warnings(), _inside(folder), contextlib.redirect_stdout(said):
                warnings.simplefilter("ignore")
                model = import_onnx2tf().convert(
                    input_onnx_file_path=path,
                    output_folder_path=os.path.join(folder, "out"),
                    # Makes names of what they are in ONNX that TensorFlow takes.
                    output_signaturedefs=True,
                    not_use_onnxsim=not folding,
                    disable_model_save=True,
                    verbosity="warn",
                    **({} if turned else kept),
                )
        except (Exception, SystemExit) as error:
            raise refusal(name, error, said.text()) from error
    if "Failed to optimize the onnx file" in said.text():
        raise RunnerError(
            "conversion",
            f"{name}: {_SIMPLIFIER}, which onnx2tf runs first, failed on {job.source}: "
            "convert with folding=false",
            said.text(),
        )
    return model


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Work in a folder where onnx2tf finds the pictures it would download, and its simplifier.

    The pictures are noise: it compares its layers with ONNX Runtime's on them.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    np.save(os.path.join(folder, _SAMPLES), generator.random((20, 128, 128, 3), np.float32))
    before, path = os.getcwd(), os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), path])
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ["PATH"] = path


class _Said(io.TextIOBase):
    """Hands on what is printed, and keeps it."""

    def __init__(self, onwards: TextIO) -> None:
        self._onwards = onwards
        self._kept: List[str] = []

    def write(self, text: str) -> int:
        self._kept.append(text)
        return self._onwards.write(text)

    def flush(self) -> None:
        self._onwards.flush()

    def text(self) -> str:
        """Without colours."""
        return _COLOURS.sub("", "".join(self._kept))


def refusal(name: str, error: BaseException, said: str) -> RunnerError:
    """What onnx2tf's failure says: which operator, and in whose words.

    Args:
        name: the converter's.
        error: what it raised; `SystemExit` where it printed the reason and ended.
        said: what it printed, without colours.
    """
    absent = re.search(r"No module named 'onnx2tf\.ops\.(\w+)'", str(error))
    if absent:
        message = f"{name}: onnx2tf has no operator {absent.group(1)}; use another converter"
        return RunnerError("unsupported", message, said)
    where = getattr(error, "onnx_op_name", None)
    at = f" at the node {where!r}" if where else ""
    if isinstance(error, SystemExit):
        told = [
            line.partition("ERROR:")[2].strip() for line in said.splitlines() if "ERROR:" in line
        ]
        words = next((line for line in told if line), "it gave no reason")
        return RunnerError("conversion", f"{name}: onnx2tf gave up{at}: {words}", said)
    failed = classify(error, "conversion")
    message = f"{name}: onnx2tf can't convert the model{at}: {failed.message}"
    return RunnerError(failed.kind, message, failed.detail)
