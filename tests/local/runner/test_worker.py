"""The worker's conversation, from `loaded` to `finish`, by the null backend in a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Start = Callable[..., Any]


def loaded(worker: Any) -> dict[str, Any]:
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log())
    assert event["event"] == "loaded"
    return event


def test_loaded_says_what_was_loaded_and_the_socket_listens_by_then(start: Start) -> None:
    worker = start({"classes": 37})
    event = loaded(worker)
    worker.connect()
    assert event["outputs"][0]["shape"] == [None, 37]
    assert event["ran"]["backend"] == "null"
    assert event["ran"]["threads"] == 1
    assert event["load_ns"] > 0
    assert event["first_inference_ns"] > 0
    assert event["prove_ns"] > 0


def test_answers_holds_every_row_once_and_a_repeat_gives_the_same_bytes(start: Start) -> None:
    first, second = start({"classes": 37}), start({"classes": 37})
    for worker in (first, second):
        loaded(worker)
        reply = worker.command("answers")
        assert reply["outputs"] == [
            {
                "index": 0,
                "name": "scores",
                "dtype": "float32",
                "shape": [10, 37],
                "file": "output_0.npy",
            }
        ]
        assert reply["nonfinite"] == 0
    assert first.output().shape == (10, 37)
    assert (first.output() == second.output()).all()
    assert len(np.unique(first.output(), axis=0)) == 10


@pytest.mark.parametrize("batch", [3, 10, 16])
def test_a_last_batch_is_padded_and_trimmed(start: Start, batch: int) -> None:
    whole, single = start(batch=batch), start()
    for worker in (whole, single):
        loaded(worker)
        assert worker.command("answers")["outputs"][0]["shape"] == [10, 10]
    np.testing.assert_allclose(whole.output(), single.output(), rtol=1e-6)


def test_another_seed_gives_other_answers_and_an_offset_shifts_them(start: Start) -> None:
    workers = [start({"seed": 0}), start({"seed": 1}), start({"seed": 0}, settings={"offset": 1})]
    for worker in workers:
        loaded(worker)
        worker.command("answers")
    plain, other, shifted = (worker.output() for worker in workers)
    assert not np.allclose(plain, other)
    np.testing.assert_allclose(shifted, plain + 1, rtol=1e-4)


def test_several_outputs_each_get_a_file_and_integers_stay_integers(start: Start) -> None:
    worker = start(
        {
            "outputs": [
                {"name": "scores", "dtype": "float64", "shape": [5]},
                {"name": "best", "dtype": "int64", "shape": []},
                {"name": "map", "dtype": "uint8", "shape": [2, 3], "scale": 0.5, "zero_point": 10},
            ]
        }
    )
    loaded(worker)
    reply = worker.command("answers")
    described = [(o["name"], o["dtype"], o["shape"]) for o in reply["outputs"]]
    assert described == [
        ("scores", "float32", [10, 5]),
        ("best", "int64", [10]),
        ("map", "float32", [10, 2, 3]),
    ]
    assert worker.output(1).dtype == np.int64
    steps = worker.output(2) / np.float32(0.5)
    assert (steps == np.rint(steps)).all()
    assert steps.min() >= -10


def test_a_round_gives_its_durations_and_no_more_than_the_run_is_timed(start: Start) -> None:
    worker = start({"latency_ns": 2_000_000})
    loaded(worker)
    reply = worker.command("round", iterations=70, warmup=2)
    assert len(reply["durations_ns"]) == 70
    # The least of them: others run here too, and a run may be interrupted.
    assert 2_000_000 <= min(reply["durations_ns"]) < 3_000_000
    assert reply["rss_mib"] > 5


def test_an_idle_worker_uses_no_processor_time(start: Start) -> None:
    worker = start()
    loaded(worker)
    worker.command("round", iterations=1, warmup=0)
    time.sleep(0.5)
    assert worker.command("round", iterations=1, warmup=0)["cpu_ns_since_last"] < 50_000_000


def test_a_round_says_what_it_used(start: Start) -> None:
    worker = start({"latency_ns": 1_000_000})
    loaded(worker)
    bare = worker.command("round", iterations=10, warmup=0)
    asked_ns = time.perf_counter_ns()
    long = worker.command("round", iterations=10, warmup=90)
    took_ns = time.perf_counter_ns() - asked_ns
    warmed = worker.command("warmup", min_iterations=20, max_iterations=20, max_duration_ns=10**10)
    # A call of this model spins. It uses the core for as long as it lasts, but for what others take
    # of it, so that only rounds can be compared: one of a hundred calls with one of ten.
    assert bare["cpu_ns"] > 0
    assert 3 * bare["cpu_ns"] < long["cpu_ns"] <= took_ns
    assert warmed["cpu_ns"] > 0
    assert warmed["peak_rss_mib"] >= long["rss_mib"] - 1


def test_two_processes_on_one_core_wait_for_it(start: Start) -> None:
    worker = start({"latency_ns": 2_000_000})
    loaded(worker)
    if worker.command("round", iterations=1)["wait_ns"] is None:
        pytest.skip("this kernel does not say how long a thread waits for a core")
    core = {max(os.sched_getaffinity(0))}
    os.sched_setaffinity(worker.process.pid, core)
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(other.pid, core)
        waited = worker.command("round", iterations=200)["wait_ns"]
    finally:
        other.kill()
        other.wait()
    # Of the 0.4 s that the round lasts at least, the other process has its share.
    assert waited > 10_000_000


def test_what_was_timed_last_is_those_rows_of_the_answers(start: Start) -> None:
    worker = start({"classes": 37}, batch=3)
    loaded(worker)
    assert "send `round` before" in worker.command("timed_outputs")["error"]["message"]
    worker.command("answers")
    for iterations, first in ((1, 0), (2, 3), (3, 6), (7, 0)):
        worker.command("round", iterations=iterations, warmup=4)
        reply = worker.command("timed_outputs")
        assert (reply["first_row"], reply["rows"]) == (first, 3)
        [output] = reply["outputs"]
        assert (output["file"], output["dtype"]) == ("timed_0.npy", "float32")
        assert output["shape"] == [3, 37]
        timed = np.load(worker.work / output["file"], allow_pickle=False)
        assert (timed == worker.output()[first : first + 3]).all()
    assert worker.output().shape == (10, 37)


def test_rows_that_only_fill_a_batch_up_are_no_timed_outputs(start: Start) -> None:
    worker = start(batch=16)
    loaded(worker)
    worker.command("answers")
    worker.command("round", iterations=2)
    reply = worker.command("timed_outputs")
    assert (reply["first_row"], reply["rows"]) == (0, 10)
    assert (np.load(worker.work / "timed_0.npy") == worker.output()).all()


def test_the_parts_of_a_query_and_why_copies_are_none(start: Start) -> None:
    worker = start({"latency_ns": 2_000_000}, batch=2)
    loaded(worker)
    reply = worker.command("stages", iterations=4)
    assert {name: len(times) for name, times in reply["stages"].items()} == {
        "preprocess": 4,
        "compute": 4,
        "postprocess": 4,
    }
    assert min(reply["stages"]["compute"]) >= 2_000_000
    assert 0 < min(reply["stages"]["preprocess"]) < 2_000_000
    assert set(reply["absent"]) == {"host_to_device", "device_to_host"}
    assert "runs on the CPU" in reply["absent"]["host_to_device"]


def test_a_model_that_does_nothing_gives_the_same_and_takes_next_to_nothing(start: Start) -> None:
    worker = start({"work": "nothing", "classes": 5}, batch=2)
    loaded(worker)
    worker.command("answers")
    answers = worker.output()
    assert answers.shape == (10, 5)
    assert (answers == answers[0]).all()
    assert len(np.unique(answers[0])) == 5
    reply = worker.command("round", iterations=2000, warmup=200)
    # The least is the harness alone, whatever else this machine does.
    assert min(reply["durations_ns"]) < 2_000
    worker.command("timed_outputs")
    assert (np.load(worker.work / "timed_0.npy") == answers[:2]).all()


@pytest.mark.parametrize(
    ("null", "words"),
    [
        ({"work": "hard"}, "`work` is one of linear, nothing, not 'hard'"),
        ({"work": "nothing", "latency_ns": 5}, "has no latency_ns"),
        ({"work": "nothing", "fault": "nan"}, "has no fault"),
    ],
)
def test_work_that_there_is_not_is_refused(start: Start, null: dict[str, Any], words: str) -> None:
    worker = start(null)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "model"
    assert words in worker.error()["message"]


def test_warmup_stops_at_its_limits(start: Start) -> None:
    worker = start({"latency_ns": 1_000_000})
    loaded(worker)
    limits = {"min_iterations": 3, "max_iterations": 3, "max_duration_ns": 10**10}
    assert len(worker.command("warmup", **limits)["durations_ns"]) == 3
    limits = {"min_iterations": 2, "max_iterations": 1000, "max_duration_ns": 0}
    reply = worker.command("warmup", **limits)
    assert len(reply["durations_ns"]) == 2
    assert reply["steady"] is False
    limits = {"min_iterations": 10, "max_iterations": 1000, "max_duration_ns": 10**10}
    assert worker.command("warmup", **limits)["steady"] is True


def test_finish_is_answered_and_ends_with_zero_and_no_socket(start: Start) -> None:
    worker = start()
    loaded(worker)
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    assert not Path(worker.job["socket"]).exists()


WRONG_COMMANDS = [
    b"",
    b"not json",
    b"[1]",
    b"{}",
    b'{"command": "dance"}',
    b'{"command": "round"}',
    b'{"command": "round", "iterations": 0}',
    b'{"command": "round", "iterations": true}',
    b'{"command": "round", "iterations": NaN}',
    b'{"command": "answers", "extra": 1}',
    b'{"command": "stages"}',
    b'{"command": "stages", "iterations": 0}',
    b'{"command": "stages", "iterations": 1000001}',
    b'{"command": "timed_outputs", "iterations": 1}',
    b'{"command": "answers"',
    b"\xff\xfe",
]


def test_a_wrong_command_is_answered_and_the_worker_lives_on(start: Start) -> None:
    worker = start()
    loaded(worker)
    for line in WRONG_COMMANDS:
        reply = worker.send(line)
        assert reply["ok"] is False, line
        assert reply["error"]["kind"] == "job", line
    assert worker.command("round", iterations=1)["ok"] is True


def test_a_client_may_go_and_come_back(start: Start) -> None:
    worker = start()
    loaded(worker)
    assert worker.command("round", iterations=1)["ok"] is True
    worker.connect()
    assert worker.command("round", iterations=1)["ok"] is True


def test_a_command_longer_than_a_mebibyte_is_refused(start: Start) -> None:
    worker = start()
    loaded(worker)
    reply = worker.send(b"x" * (3 * 1024**2))
    assert reply is None or reply["error"]["kind"] == "job"
    worker.connect()
    assert worker.command("round", iterations=1)["ok"] is True


@pytest.mark.parametrize(("fault", "kind"), [("memory", "out-of-memory"), ("error", "backend")])
def test_an_exception_at_load_is_a_kind_of_failure(start: Start, fault: str, kind: str) -> None:
    worker = start({"fault": fault})
    assert worker.event() is None
    assert worker.wait() == 1
    assert worker.error()["kind"] == kind


@pytest.mark.parametrize(("fault", "kind"), [("memory", "out-of-memory"), ("error", "backend")])
def test_an_exception_in_a_command_is_its_reply(start: Start, fault: str, kind: str) -> None:
    worker = start({"fault": fault, "fault_after": 4})
    loaded(worker)
    assert worker.command("answers")["error"]["kind"] == kind
    assert list(worker.work.glob("output_*")) == []
    assert worker.command("finish")["ok"] is True
    assert worker.wait() == 0


def test_values_that_are_not_finite_are_counted_and_kept(start: Start) -> None:
    worker = start({"fault": "nan", "classes": 4})
    loaded(worker)
    assert worker.command("answers")["nonfinite"] == 40
    assert np.isnan(worker.output()).all()


def test_an_output_without_the_batch_is_invalid(start: Start) -> None:
    worker = start({"fault": "shape"}, batch=4)
    loaded(worker)
    reply = worker.command("answers")
    assert reply["error"]["kind"] == "invalid-output"
    assert "first dimension" in reply["error"]["message"]


def test_a_crash_leaves_no_answer_a_signal_and_a_trace_in_the_log(start: Start) -> None:
    worker = start({"fault": "crash", "fault_after": 3})
    loaded(worker)
    assert worker.command("answers") is None
    assert worker.wait() == -signal.SIGSEGV
    assert "Segmentation fault" in worker.log()


def test_a_quiet_exit_leaves_no_answer(start: Start) -> None:
    worker = start({"fault": "exit", "fault_after": 3})
    loaded(worker)
    assert worker.command("answers") is None
    assert worker.wait() == 0
    assert list(worker.work.glob("output_*.npy")) == []


def test_the_end_of_standard_input_ends_a_worker_that_waits(start: Start) -> None:
    worker = start()
    loaded(worker)
    worker.process.stdin.close()
    assert worker.wait() == 130


def test_the_end_of_standard_input_ends_a_worker_that_hangs(start: Start) -> None:
    worker = start({"fault": "hang"})
    time.sleep(0.5)
    worker.process.stdin.close()
    assert worker.wait() == 130


def test_an_interrupt_ends_a_worker_with_130(start: Start) -> None:
    worker = start()
    loaded(worker)
    worker.process.send_signal(signal.SIGINT)
    assert worker.wait() == 130
    assert worker.error() is None


def test_too_large_outputs_are_refused_before_they_are_written(start: Start) -> None:
    worker = start({"classes": 1000}, max_output_bytes=10_000)
    loaded(worker)
    error = worker.command("answers")["error"]
    assert error["kind"] == "output-limit"
    assert "--limit" in error["message"]
    assert list(worker.work.glob("output_*")) == []


def test_a_fixed_batch_that_is_not_the_cells_is_unsupported_with_a_remedy(start: Start) -> None:
    worker = start({"input": {"shape": [1, 8, 8, 3]}}, batch=4)
    assert worker.event() is None
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "ask for batch 1" in worker.error()["message"]


def test_a_model_of_another_size_is_unsupported_and_both_shapes_are_named(start: Start) -> None:
    worker = start({"input": {"shape": [None, 3, 8, 8]}})
    assert worker.wait() == 1
    assert "[?, 3, 8, 8]" in worker.error()["message"]
    assert "[1, 8, 8, 3]" in worker.error()["message"]


def test_what_a_backend_can_not_do_is_refused_with_what_it_can(start: Start) -> None:
    worker = start(precision="f16")
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "f32, default" in worker.error()["message"]


def test_a_model_that_is_not_one_is_kind_model(start: Start) -> None:
    worker = start({"fault": "load"})
    assert worker.wait() == 1
    assert worker.error()["kind"] == "model"


def test_a_truncated_file_of_inputs_is_refused(start: Start, pixels: Path) -> None:
    pixels.write_bytes(pixels.read_bytes()[:-100])
    worker = start()
    assert worker.wait() == 1
    assert worker.error()["kind"] == "job"
    assert str(pixels) in worker.error()["message"]


def test_what_a_library_prints_does_not_reach_the_events(start: Start) -> None:
    """Refused commands are printed by the runner itself, on file descriptor 1."""
    worker = start()
    loaded(worker)
    worker.send(b"nonsense")
    worker.command("finish")
    assert worker.event() is None
    assert "not valid JSON" in worker.log()


def test_a_socket_path_that_is_too_long_is_refused_with_a_remedy(start: Start, short: Path) -> None:
    worker = start(socket=str(short / ("x" * 100) / "s"))
    assert worker.wait() == 2
    assert worker.error()["kind"] == "job"
    assert "107" in worker.error()["message"]


def test_a_socket_that_can_not_be_made_is_an_error(start: Start, short: Path) -> None:
    worker = start(socket=str(short / "absent" / "s"))
    assert worker.wait() == 1
    assert worker.error()["kind"] == "job"


def test_a_stale_socket_and_a_stale_error_are_replaced(start: Start, short: Path) -> None:
    stale = short / "stale"
    stale.write_text("")
    worker = start(socket=str(stale))
    loaded(worker)
    assert worker.command("finish")["ok"] is True


def test_the_lifeline_works_with_the_kernels_own(start: Start) -> None:
    worker = start(parent_death_signal=True)
    loaded(worker)
    assert worker.command("finish")["ok"] is True
    assert worker.wait() == 0


def test_a_job_is_found_wanting_before_anything_is_imported(short: Path, start: Start) -> None:
    worker = start(batch=0)
    assert worker.wait() == 2
    assert worker.error()["message"] == "job.batch: must be at least 1, got 0"
    assert json.loads((worker.work / "job.json").read_text())["batch"] == 0
