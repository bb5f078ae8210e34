"""Tools that rewrite ONNX files: the passes they name, and what they say of the files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.canonical import write_json
from harness.errors import UsageError
from harness.execution.bundles import answers_folder, artifact_folder
from harness.studies import rewriting
from harness.studies.points import Point, Trial
from harness.studies.rewriting import FileForm, file_forms, passes_of

CONVERTER = "onnx>onnx:onnxoptimizer"
OFF = Point("all off")
ON = Point("all on", wishes={"optimise": "onnxoptimizer"})
GRAPH = {
    "changed": True,
    "sha256_before": "a" * 64,
    "sha256_after": "b" * 64,
    "passes": ["fuse_bn_into_conv"],
    "operators_before": {"Conv": 4, "BatchNormalization": 4},
    "operators_after": {"Conv": 4},
}


def answered(store: Path, point: Point, steps) -> Trial:
    key = point.label.replace(" ", "-")
    write_json(answers_folder(store, key) / "cell.json", {"schema_version": 1, "steps": steps})
    return Trial(point, "done", store, "sweep", key)


def rewritten(store: Path, graph=GRAPH) -> Trial:
    write_json(
        artifact_folder(store, "made") / "artifact.json", {"schema_version": 1, "graph": graph}
    )
    return answered(store, ON, [{"key": "made", "converter": CONVERTER}])


def test_the_file_as_it_was_is_known_from_what_a_tool_found(tmp_path):
    trials = [answered(tmp_path, OFF, []), rewritten(tmp_path)]
    forms = file_forms(tmp_path, "onnxoptimizer", trials)
    assert forms == {
        OFF.key: FileForm("a" * 64, {"Conv": 4, "BatchNormalization": 4}),
        ON.key: FileForm("b" * 64, {"Conv": 4}),
    }


def test_nothing_is_said_of_files_that_nobody_rewrote_or_whose_tool_is_silent(tmp_path):
    failed = Trial(ON, "failed", tmp_path, "sweep", "k", "signal", "ended by signal 11")
    assert file_forms(tmp_path, "onnxoptimizer", [answered(tmp_path, OFF, []), failed]) == {}
    silent = rewritten(tmp_path, graph=None)
    assert file_forms(tmp_path, "onnxoptimizer", [silent]) == {}


def asked(monkeypatch, told, converter=CONVERTER):
    """Trials whose model passes through a converter, and what its environment says of it."""
    monkeypatch.setattr(rewriting, "probe", lambda *_: told)
    step = SimpleNamespace(converter=converter, environment="tool-1", environment_identity="id")
    return SimpleNamespace(
        cell=lambda _: SimpleNamespace(
            backend="onnxruntime", conversion=SimpleNamespace(chain=(step,))
        ),
        environment=lambda *_: SimpleNamespace(image=None, python="python"),
        engine=None,
    )


def test_a_tool_is_asked_for_its_passes_in_its_own_environment(monkeypatch):
    passes = {"all": ["nop", "fuse"], "unasked": ["fuse"]}
    trials = asked(monkeypatch, {"converters": {CONVERTER: {"passes": passes}}})
    found = passes_of(trials, "onnxoptimizer")
    assert (found.known, found.unasked) == (("nop", "fuse"), ("fuse",))


def test_a_tool_that_does_not_import_is_refused_with_its_reason(monkeypatch):
    told = {"converters": {CONVERTER: {"ok": False, "detail": "no module named onnxoptimizer"}}}
    with pytest.raises(UsageError, match="names no passes: no module named onnxoptimizer"):
        passes_of(asked(monkeypatch, told), "onnxoptimizer")


def test_a_model_that_does_not_pass_through_the_tool_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="does not pass through onnxoptimizer"):
        passes_of(asked(monkeypatch, {}, converter="onnx>relax"), "onnxoptimizer")
