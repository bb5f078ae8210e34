"""The folder that goes to a bug report: short, whole, and safe whatever an operator is called."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.errors import UsageError
from harness.progress import SilentProgress
from harness.studies.bisect_operators import difference
from harness.studies.operator_study import study_operators
from harness.studies.programs import Asked, program
from harness.studies.reproducer import (
    ReproducedSide,
    Shown,
    readme,
    script,
    write_reproducer,
)
from harness.studies.reproducing import _judged

SHOWN = Shown('Conv "stem"', 0.012, 0.0012, None, "squeezenet", "images/7.png", "t3", "t4")


def _environment(lock, name="onnxruntime-1.31"):
    return SimpleNamespace(
        name=name,
        version="1.31.1",
        python="3.11.2",
        lock_path=lock,
        reference=name,
        folder=SimpleNamespace(file=SimpleNamespace(extra_index=(), find_links=())),
    )


def _side(lock, **settings):
    asked = Asked("onnxruntime", "subgraph.onnx", "onnx", settings)
    return ReproducedSide("onnxruntime 1.31.1, onnxruntime", asked, _environment(lock))


@pytest.fixture
def locks(tmp_path):
    made = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}.lock"
        path.write_text(f"{name}==1.0 --hash=sha256:00\n", encoding="utf-8")
        made.append(path)
    return made


def _model():
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["t3"], ["t4"])],
        "part",
        [value("t3", TensorProto.FLOAT, [1, 2])],
        [value("t4", TensorProto.FLOAT, [1, 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_folder_holds_all_that_a_stranger_needs(tmp_path, locks):
    sides = (_side(locks[0]), _side(locks[1], graph_optimization_level="disabled"))
    fed = np.ones((1, 2), np.float32)
    files = write_reproducer(tmp_path / "out", _model(), fed, sides, SHOWN)
    assert files == [
        "README.md",
        "input.npy",
        "reproduce.py",
        "requirements-a.txt",
        "requirements-b.txt",
        "subgraph.onnx",
    ]
    assert onnx.load(str(tmp_path / "out" / "subgraph.onnx")) == _model()
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "input.npy"), fed)
    assert (tmp_path / "out" / "requirements-b.txt").read_text() == locks[1].read_text()


def test_one_environment_on_both_sides_is_listed_once(tmp_path, locks):
    sides = (_side(locks[0]), _side(locks[0], graph_optimization_level="disabled"))
    files = write_reproducer(tmp_path / "out", _model(), np.ones((1, 2)), sides, SHOWN)
    assert "requirements.txt" in files
    assert "requirements-a.txt" not in files


def test_what_is_there_is_not_written_over(tmp_path, locks):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(UsageError, match="not empty"):
        write_reproducer(
            tmp_path / "out", _model(), np.ones((1, 2)), (_side(locks[0]), _side(locks[0])), SHOWN
        )


@pytest.mark.parametrize("place", ["mine.txt", "mine.txt/out", "full", "dangling"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_looked_for(
    tmp_path, place
):
    (tmp_path / "mine.txt").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"is no folder|is not empty") as caught:
        study_operators(tmp_path / "no-store", "a", "b", SilentProgress(), out=tmp_path / place)
    assert "--out" in caught.value.remedy


def test_the_script_is_about_thirty_lines_and_imports_only_what_is_concerned(locks):
    text, runner = script((_side(locks[0]), _side(locks[1])), SHOWN)
    assert not runner
    assert len([line for line in text.splitlines() if line.strip()]) <= 36
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert imported == {"sys", "numpy", "onnxruntime"}


@pytest.mark.parametrize("name", ['""" + __import__("os").abort() + """', "{x}\\", "a\nb = 1"])
def test_names_of_operators_stay_text(locks, name):
    sides = (_side(locks[0]), _side(locks[1]))
    text, _ = script(sides, replace(SHOWN, headline=name))
    plain, _ = script(sides, SHOWN)
    assert [type(n) for n in ast.parse(text).body] == [type(n) for n in ast.parse(plain).body]


def test_the_readme_says_of_rounding_that_it_is_no_fault(locks):
    sides = (_side(locks[0]), _side(locks[1]))
    assert "no fault of an operator" in readme(sides, replace(SHOWN, rounding=True), runner=False)
    assert "no fault" not in readme(sides, SHOWN, runner=False)


def test_the_readme_says_what_differs_and_which_commands_show_it(locks):
    sides = (_side(locks[0]), _side(locks[1], graph_optimization_level="disabled"))
    text = readme(sides, SHOWN, runner=False)
    assert "differ by 0.012 of the largest number" in text
    assert "venv-a/bin/python reproduce.py a" in text
    assert "pip install --require-hashes -r requirements-b.txt" in text
    assert "graph_optimization_level=disabled" in text


def _script_with(folder: Path, a: str, b: str) -> list[subprocess.CompletedProcess]:
    """Run the script with two functions that need no framework."""
    lock = folder / "x.lock"
    lock.touch()
    text, _ = script((_side(lock), _side(lock)), SHOWN)
    head, tail = text[: text.index("def a(x)")], text[text.index("side = sys.argv") :]
    body = f"def a(x):\n    return {a}\n\n\ndef b(x):\n    return {b}\n\n\n"
    (folder / "reproduce.py").write_text(head + body + tail, encoding="utf-8")
    np.save(folder / "input.npy", np.float32([[1, 2]]))
    return [
        subprocess.run(
            [sys.executable, "reproduce.py", side],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        for side in "ab"
    ]


@pytest.mark.parametrize(
    ("b", "status", "said"),
    [
        ("x * 1.1", 0, "differ by 0.1 of"),
        ("x", 1, "differ by 0 of"),
        ("x * np.nan", 0, "differ by inf of"),
        ("x[:, :1]", 0, "differ by inf of"),
    ],
)
def test_the_script_ends_with_0_where_it_shows_it_and_with_1_where_not(tmp_path, b, status, said):
    first, second = _script_with(tmp_path, "x", b)
    assert first.returncode == 0, first.stderr
    assert (second.returncode, said in second.stdout) == (status, True)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x * 0", "x * 0"),
        ("x * 0", "x"),
        ("x * np.nan", "x * np.nan"),
        ("x * np.inf", "x * np.inf"),
        ("x * np.inf", "x * -np.inf"),
        ("x / (x - 1)", "x / (x - 1)"),
    ],
)
def test_the_script_judges_as_the_search_did_where_numbers_are_odd(tmp_path, a, b):
    x = np.float32([[1, 2]])
    with np.errstate(all="ignore"):
        apart = difference(*(eval(one, {"x": x, "np": np}) for one in (a, b)))  # noqa: S307
    _, second = _script_with(tmp_path, a, b)
    assert f"differ by {apart:.3g} of" in second.stdout
    assert second.returncode == (0 if apart else 1)


def _lines(backend, file_format="onnx", known=None, **settings):
    lines, runner = program(
        Asked(backend, f"subgraph.{file_format}", file_format, settings, known=known or {})
    )
    compile("def f(x):\n    " + "\n    ".join(lines), "lines", "exec")
    return "\n".join(lines), runner


@pytest.mark.parametrize(
    ("backend", "file_format", "settings", "telling"),
    [
        ("onnxruntime", "onnx", {"graph_optimization_level": "basic"}, "ORT_ENABLE_BASIC"),
        ("onnxruntime", "onnx", {"disabled_passes": ["ConvBNFusion"]}, "disabled_optimizers=off"),
        ("openvino", "onnx", {"execution_mode": "accuracy"}, "'EXECUTION_MODE_HINT': 'ACCURACY'"),
        ("tvm", "onnx", {"fast_math": True}, '"fast-math": True'),
        ("tvm", "onnx", {"disabled_passes": ["FuseOps"]}, "disabled_pass=['FuseOps']"),
        ("torch.compile", "pt2", {"freezing": True}, "inductor.freezing = True"),
        ("torch.compile", "pt2", {"flags": {"cpp.simdlen": 1}}, "inductor.cpp.simdlen = 1"),
        ("openvino", "onnx", {"variables": {"X": "1"}}, "os.environ.update({'X': '1'})"),
    ],
)
def test_settings_are_written_as_users_of_the_library_would(
    backend, file_format, settings, telling
):
    text, runner = _lines(backend, file_format, **settings)
    assert telling in text
    assert not runner


def test_a_flag_that_is_no_name_is_never_written_into_the_script():
    text, runner = _lines("torch.compile", "pt2", flags={"x = 1; import os; y": True})
    assert runner
    assert "inductor." not in text


def test_only_these_passes_are_all_others_switched_off():
    text, _ = _lines("onnxruntime", passes=["Fuse"], known={"passes": ["Fold", "Fuse", "Plan"]})
    assert "off = ['Fold', 'Plan']" in text


def test_passes_on_tvms_graph_run_before_its_pipeline_and_the_rest_is_left_out():
    text, _ = _lines(
        "tvm",
        passes=["FoldBatchnormToConv2D", "FuseOps"],
        known={"disabled_passes": ["FuseOps", "FuseTIR"]},
    )
    assert "module = relax.transform.FoldBatchnormToConv2D()(module)" in text
    assert "disabled_pass=['FuseTIR']" in text


@pytest.mark.parametrize(
    ("backend", "settings"),
    [("iree", {"opt_level": "O3"}), ("onnxruntime", {"arena": False}), ("tvm", {"target": "c"})],
)
def test_what_is_not_written_out_goes_to_the_runner_with_its_settings(backend, settings):
    text, runner = _lines(backend, **settings)
    assert runner
    job = next(
        json.loads(node.args[0].value)
        for node in ast.walk(ast.parse("def f():\n    " + text.replace("\n", "\n    ")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "json.loads"
    )
    assert (job["backend"], job["settings"]) == (backend, settings)


RUN = {"side": "a", "status": 0, "late": False, "seconds": 1.0, "said": ""}
TOLD = "a and b differ by 0.5 of the largest number (seen: 0.5)"


@pytest.mark.parametrize(
    ("a", "b", "failure", "verified"),
    [
        ({}, {"said": TOLD}, None, True),
        ({}, {"said": TOLD, "status": 1}, None, False),
        ({}, {"said": "ImportError: no", "status": 1}, None, False),
        ({"status": 1, "said": "boom"}, {"said": TOLD}, None, False),
        ({}, {"status": -11}, "signal", True),
        ({}, {"status": 0}, "signal", False),
        ({"status": 1}, {"status": -11}, "signal", False),
        ({}, {"status": -6}, "signal", None),
        ({}, {"status": -9, "late": True}, "signal", None),
        ({}, {"status": -9, "late": True}, "timeout", True),
        ({}, {"status": 1, "said": "ImportError: no"}, "signal", None),
        ({}, {"status": 1, "said": "ImportError: no"}, "backend", None),
        ({}, {"status": 1, "said": "Error: it was ended by SIGSEGV."}, "backend", True),
    ],
)
def test_a_reproducer_is_verified_only_by_what_its_script_shows(a, b, failure, verified):
    message = "it was ended by SIGSEGV."
    found = _judged([{**RUN, **a}, {**RUN, "side": "b", **b}], failure, message)
    assert found["verified"] is verified
    assert bool(found["reason"]) is (verified is not True)
