"""Job documents: what is accepted, what is refused, and that the schemas say the same."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner import errors
from runner.documents import check, parse, schema
from runner.errors import RunnerError, classify
from runner.jobs import ConvertJob, InferJob, ProbeJob, read_job


def infer() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "kind": "infer",
        "work": "/w",
        "backend": "onnxruntime",
        "model": {"path": "m.onnx", "format": "onnx"},
        "inputs": {
            "kind": "pixels",
            "path": "x.npy",
            "count": 5,
            "normalise": {
                "channels": "rgb",
                "divide": 255,
                "subtract": [0.485, 0.456, 0.406],
                "divide_after": [0.229, 0.224, 0.225],
            },
            "layout": "NCHW",
            "raw_quantised": False,
        },
        "socket": "/tmp/s",
    }


def convert() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "kind": "convert",
        "work": "/w",
        "converter": "onnx>torch",
        "source": {"path": "m.onnx", "format": "onnx"},
        "target": "m.pt2",
        "options": {"batch": 1},
    }


def probe() -> dict[str, Any]:
    return {"schema_version": 1, "kind": "probe", "work": "/w", "backends": ["null"]}


def test_an_infer_job_gets_its_defaults() -> None:
    job = read_job(json.dumps(infer()))
    assert isinstance(job, InferJob)
    assert (job.threads, job.batch, job.precision, job.device) == (1, 1, "f32", "cpu")
    assert job.max_output_bytes == 2 * 1024**3
    assert job.inputs.normalise is not None
    assert job.inputs.normalise.divide == 255.0
    assert job.inputs.normalise.subtract == (0.485, 0.456, 0.406)


def test_a_ceiling_on_instruction_sets_is_one_of_those_there_are() -> None:
    assert read_job(json.dumps(infer())).instruction_set == "own"
    assert read_job(json.dumps({**infer(), "instruction_set": "avx2"})).instruction_set == "avx2"
    with pytest.raises(RunnerError, match=r"job\.instruction_set: .*'avx512_vnni'.*'avx3'"):
        read_job(json.dumps({**infer(), "instruction_set": "avx3"}))


def test_the_other_kinds_are_read() -> None:
    converted = read_job(json.dumps(convert()))
    assert isinstance(converted, ConvertJob)
    assert converted.options == {"batch": 1}
    probed = read_job(json.dumps(probe()))
    assert isinstance(probed, ProbeJob)
    assert probed.backends == ("null",)


def with_commands(*commands: dict[str, Any]) -> dict[str, Any]:
    job = infer()
    del job["socket"]
    return dict(job, commands=list(commands))


def test_a_probe_of_everything_names_no_backends() -> None:
    probed = read_job(json.dumps(dict(probe(), backends=None)))
    assert isinstance(probed, ProbeJob)
    assert probed.backends is None


def test_an_infer_job_may_bring_its_commands_instead_of_a_socket() -> None:
    job = read_job(json.dumps(with_commands({"command": "answers"}, {"command": "finish"})))
    assert isinstance(job, InferJob)
    assert job.socket is None
    assert job.commands == ({"command": "answers"}, {"command": "finish"})


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (dict(infer(), commands=[{"command": "answers"}]), "either 'socket' .* or 'commands'"),
        ({k: v for k, v in infer().items() if k != "socket"}, "either 'socket' .* or 'commands'"),
        (with_commands(), "job.commands: must hold at least 1 items"),
    ],
)
def test_a_job_has_a_socket_or_commands_and_the_schema_says_so_too(
    job: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        read_job(json.dumps(job))
    assert caught.value.kind == "job"
    assert list(Draft202012Validator(schema("job")).iter_errors(job)) != []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"command": "dance"}, r"job.commands\[1\].command: must be one of answers"),
        ({"command": "round"}, r"job.commands\[1\]: 'iterations' is missing"),
        ({}, r"job.commands\[1\].command"),
    ],
)
def test_a_wrong_command_of_a_job_is_refused_before_anything_is_loaded(
    command: dict[str, Any], words: str
) -> None:
    with pytest.raises(RunnerError, match=words):
        read_job(json.dumps(with_commands({"command": "answers"}, command)))


def test_export_is_reserved_and_says_so() -> None:
    with pytest.raises(RunnerError, match="reserved") as caught:
        read_job('{"schema_version": 1, "kind": "export", "work": "/w"}')
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("text", ["", "{", "[]", "nul", '"job"', '{"kind": Infinity}', "[" * 10**5])
def test_text_that_is_not_one_whole_object_is_refused(text: str) -> None:
    with pytest.raises(RunnerError) as caught:
        read_job(text)
    assert caught.value.kind == "job"


def test_every_truncation_of_a_job_is_refused() -> None:
    text = json.dumps(probe())
    for end in range(len(text)):
        with pytest.raises(RunnerError):
            read_job(text[:end])


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda job: job.pop(key)


def put(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(job: dict[str, Any]) -> None:
        for key in path[:-1]:
            job = job[key]
        job[path[-1]] = value

    return change


REFUSED = [
    (drop("backend"), "'backend' is missing"),
    (drop("schema_version"), "'schema_version' is missing"),
    (put(2, "schema_version"), "must be 1"),
    (put(True, "schema_version"), "must be 1"),
    (put("train", "kind"), "probe, convert, prepare, infer"),
    (put(1, "threadz"), "unknown key 'threadz'"),
    (put(1, "inputs", "shuffle"), "job.inputs: unknown key 'shuffle'"),
    (put(0, "threads"), "job.threads: must be at least 1, got 0"),
    (put(1.5, "batch"), "job.batch: must be of type integer"),
    (put(True, "batch"), "job.batch: must be of type integer"),
    (put("4", "batch"), "job.batch: must be of type integer, got string"),
    (put("", "model", "path"), "must not be empty"),
    (put("movie", "inputs", "kind"), "'pixels', 'array'"),
    (put("CHWN", "inputs", "layout"), "must be one of"),
    (put([1, 2], "inputs", "normalise", "divide"), "job.inputs.normalise.divide"),
    (put("grey", "inputs", "normalise", "channels"), "'rgb', 'bgr'"),
    (put([], "settings"), "job.settings: must be of type object"),
]


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_a_wrong_job_is_refused_and_the_key_is_named(
    change: Callable[[dict[str, Any]], None], words: str
) -> None:
    job = infer()
    change(job)
    with pytest.raises(RunnerError) as caught:
        read_job(json.dumps(job))
    assert caught.value.kind == "job"
    assert words in caught.value.message
    assert list(Draft202012Validator(schema("job")).iter_errors(job)) != []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(0, "inputs", "normalise", "divide"), "divide by zero"),
        (put([1, 0, 1], "inputs", "normalise", "divide_after"), "divide by zero"),
        (put("array", "inputs", "kind"), "arrays are fed as they are"),
        (put("/" + "é" * 54, "socket"), "is 109 bytes"),
    ],
)
def test_what_a_schema_can_not_say_is_refused_too(
    change: Callable[[dict[str, Any]], None], words: str
) -> None:
    job = infer()
    change(job)
    with pytest.raises(RunnerError, match=words):
        read_job(json.dumps(job))


@pytest.mark.parametrize(
    "document",
    [
        infer(),
        convert(),
        probe(),
        dict(probe(), backends=None),
        with_commands({"command": "answers"}),
    ],
)
def test_the_checker_and_a_full_implementation_accept_the_same(document: dict[str, Any]) -> None:
    check(document, "job", "kind")
    Draft202012Validator(schema("job")).validate(document)


@pytest.mark.parametrize("name", ["job", "event", "command", "reply", "error"])
def test_the_schemas_are_valid_schemas(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


USED = {"cpu_ns": 5, "cpu_ns_since_last": 0, "wait_ns": 7, "rss_mib": 9.5, "peak_rss_mib": 10}
OUTPUT = {"index": 0, "name": "y", "dtype": "float32", "shape": [1, 3], "file": "timed_0.npy"}
STAGES = {"preprocess": [1], "compute": [2], "postprocess": [3]}


@pytest.mark.parametrize(
    "command",
    [
        {"command": "stages", "iterations": 1},
        {"command": "timed_outputs"},
        {"command": "warmup", "min_iterations": 0, "max_iterations": 1, "max_duration_ns": 0},
    ],
)
def test_a_command_of_timing_is_accepted_by_both(command: dict[str, Any]) -> None:
    check(command, "command", "command")
    Draft202012Validator(schema("command")).validate(command)


@pytest.mark.parametrize(
    "command",
    [
        {"command": "stages"},
        {"command": "stages", "iterations": 0},
        {"command": "stages", "iterations": 100_001},
        {"command": "stages", "iterations": 1.5},
        {"command": "timed_outputs", "rows": 1},
    ],
)
def test_a_wrong_command_of_timing_is_refused_by_both(command: dict[str, Any]) -> None:
    with pytest.raises(RunnerError):
        check(command, "command", "command")
    assert not Draft202012Validator(schema("command")).is_valid(command)


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("round", {"durations_ns": [1, 2], **USED}),
        ("round", {"durations_ns": [], **USED, "wait_ns": None}),
        ("warmup", {"durations_ns": [1], "steady": True, **USED}),
        ("stages", {"stages": STAGES, "absent": {"host_to_device": "why"}}),
        ("timed_outputs", {"outputs": [OUTPUT], "first_row": 0, "rows": 1}),
    ],
)
def test_each_reply_of_timing_has_all_its_fields(name: str, reply: dict[str, Any]) -> None:
    rule = {**schema("reply"), "oneOf": [{"$ref": f"#/$defs/{name}"}]}
    valid = Draft202012Validator(rule)
    valid.validate({"ok": True, **reply})
    for key in reply:
        assert not valid.is_valid({"ok": True, **{k: v for k, v in reply.items() if k != key}}), key
    assert not valid.is_valid({"ok": True, "more": 1, **reply})


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("round", {"durations_ns": [1], **USED, "wait_ns": -1}),
        ("round", {"durations_ns": [1], **USED, "cpu_ns": None}),
        ("warmup", {"durations_ns": [1], "steady": "yes", **USED}),
        ("stages", {"stages": {"compute": [2]}, "absent": {}}),
        ("stages", {"stages": {**STAGES, "copy": [1]}, "absent": {}}),
        ("stages", {"stages": STAGES, "absent": {"compute": "why"}}),
        ("timed_outputs", {"outputs": [], "first_row": 0, "rows": 1}),
        ("timed_outputs", {"outputs": [OUTPUT], "first_row": 0, "rows": 0}),
    ],
)
def test_a_wrong_reply_of_timing_is_refused(name: str, reply: dict[str, Any]) -> None:
    assert not Draft202012Validator(schema("reply")).is_valid({"ok": True, **reply}), name


def test_the_kinds_of_failure_are_the_schemas() -> None:
    assert tuple(schema("error")["properties"]["kind"]["enum"]) == errors.KINDS


def test_several_problems_are_told_at_once() -> None:
    job = probe()
    del job["work"]
    job["extra"] = 1
    with pytest.raises(RunnerError, match=r"'work' is missing; .*unknown key 'extra'"):
        check(job, "job", "kind")


def test_a_number_that_is_not_finite_is_no_json() -> None:
    with pytest.raises(RunnerError, match="NaN is not a JSON number"):
        parse('{"a": NaN}', "the document")


def test_a_library_that_ran_out_of_memory_in_its_own_words_is_recognised() -> None:
    assert classify(MemoryError()).kind == "out-of-memory"
    assert classify(RuntimeError("DefaultCPUAllocator: can't allocate memory")).kind == (
        "out-of-memory"
    )
    assert classify(RuntimeError("std::bad_alloc"), "model").kind == "out-of-memory"
    assert classify(RuntimeError("no such operator"), "model").kind == "model"


def test_the_runner_is_python_3_8() -> None:
    """Newer syntax would only be found in an environment with an old Python."""
    folder = Path(errors.__file__).parent
    for path in folder.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))


def test_an_infer_job_carries_the_axes_of_a_conversion() -> None:
    axes = {"input_axes": [0, 2, 3, 1], "output_axes": [None, [0, 3, 1, 2]]}
    job = read_job(json.dumps({**infer(), **axes}))
    assert isinstance(job, InferJob)
    assert job.input_axes == (0, 2, 3, 1)
    assert job.output_axes == (None, (0, 3, 1, 2))


@pytest.mark.parametrize("axes", [[1, 0], [0, 2], [0, 1, 1]])
def test_axes_that_are_no_transposition_of_items_are_refused(axes: list[int]) -> None:
    with pytest.raises(RunnerError):
        read_job(json.dumps({**infer(), "input_axes": axes}))


def test_swapped_sides_are_for_pixels_and_not_for_arrays() -> None:
    document = infer()
    document["inputs"]["swap_sides"] = True
    job = read_job(json.dumps(document))
    assert isinstance(job, InferJob)
    assert job.inputs.swap_sides is True
    document["inputs"].update(kind="array", normalise=None, layout=None)
    with pytest.raises(RunnerError, match="swap_sides: arrays are fed as they are") as caught:
        read_job(json.dumps(document))
    assert caught.value.kind == "job"
