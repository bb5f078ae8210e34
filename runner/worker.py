"""An `infer` job: load a model, then answer commands on a Unix socket until `finish`.

While nothing is asked the worker blocks in the kernel: others are being timed. A job that brings
its commands along has nobody to talk to: it does them in order, and ends.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from runner import (
    backends,
    compile_costs,
    fingerprints,
    ir_files,
    measure,
    sockets,
    stages,
    usage,
)
from runner.answers import AnswerFiles, check_outputs, postprocess
from runner.backends.base import Backend, Description, LoadRequest
from runner.documents import check, parse
from runner.errors import RunnerError, as_document, classify
from runner.events import Events
from runner.given_settings import check_kept, split_variables
from runner.inputs import check_fit, fed_item_shape, open_rows, prepare
from runner.jobs import InferJob

_TIMED_INPUTS = 64
_TIMED_BYTES = 256 * 1024**2
_PROGRESS_NS = 200_000_000


def serve(job: InferJob, events: Events) -> None:
    """Load, emit `loaded`, then answer commands until `finish`, or do the job's own.

    Raises:
        RunnerError: if the model can't be loaded or the socket can't be made. An error inside a
            command is that command's reply, and the worker lives on; among the job's own it ends
            the job.
    """
    worker, loaded = _load(job, events)
    with contextlib.closing(worker):
        if job.commands is not None:
            events.emit("loaded", **loaded)
            _do_all(worker, job.commands, events)
        else:
            _listen(worker, str(job.socket), loaded, events)


def _do_all(worker: ModelWorker, commands: Sequence[Dict[str, Any]], events: Events) -> None:
    """Do commands in order, each with its reply as an event; the first that fails is the last."""
    for index, document in enumerate(commands):
        worker.rest()
        command = dict(document)
        name = command.pop("command")
        try:
            reply = dict({"ok": True}, **getattr(worker, name)(**command))
        except Exception as error:
            failure = classify(error)
            reply = {"ok": False, "error": as_document(failure)}
            events.emit("reply", index=index, command=name, reply=reply)
            raise failure from error
        events.emit("reply", index=index, command=name, reply=reply)
        if name == "finish":
            return


def _listen(worker: ModelWorker, path: str, loaded: Dict[str, Any], events: Events) -> None:
    """Answer commands on a socket until `finish`."""
    with sockets.listening(path) as listener:
        events.emit("loaded", **loaded)
        worker.rest()
        while True:
            connection, _ = listener.accept()
            with connection:
                for line in sockets.lines(connection):
                    reply, finished = _answer(worker, line)
                    worker.rest()
                    sent = sockets.send(connection, reply)
                    if finished:
                        return
                    if not sent:
                        break


class ModelWorker:
    """A loaded model and its inputs; a method a command."""

    def __init__(
        self,
        job: InferJob,
        events: Events,
        backend: Backend,
        description: Description,
        rows: np.ndarray,
    ) -> None:
        self._job = job
        self._events = events
        self._backend = backend
        self._about = description
        self._rows = rows
        self._feeds: Optional[List[np.ndarray]] = None
        self._last: Optional[measure.Round] = None
        self._cpu_at_rest_ns = time.process_time_ns()

    def rest(self) -> None:
        """Remember the processor time used so far; what is used from now on is idle."""
        self._cpu_at_rest_ns = time.process_time_ns()

    def close(self) -> None:
        """Free the model."""
        self._backend.close()

    def answers(self) -> Dict[str, Any]:
        """All inputs in batches; the last one is padded with its last row and trimmed."""
        job, total = self._job, len(self._rows)
        started = last_word = time.perf_counter_ns()
        with AnswerFiles(
            job.work,
            self._about.outputs,
            total,
            job.max_output_bytes,
            job.output_axes,
            softmax=job.softmax,
        ) as files:
            for first in range(0, total, job.batch):
                keep = min(job.batch, total - first)
                outputs = self._backend.run(self.batch_from(first))
                files.add(outputs, job.batch, keep)
                now = time.perf_counter_ns()
                if now - last_word >= _PROGRESS_NS:
                    last_word = now
                    self._events.emit("progress", droppable=True, done=first + keep, total=total)
            outputs_written = files.finish()
            nonfinite = files.nonfinite
        self._events.emit("progress", droppable=True, done=total, total=total)
        duration = time.perf_counter_ns() - started
        return {"outputs": outputs_written, "nonfinite": nonfinite, "duration_ns": duration}

    def warmup(
        self, min_iterations: int, max_iterations: int, max_duration_ns: int
    ) -> Dict[str, Any]:
        """Run until the times are steady."""
        before = usage.read()
        durations, steady = measure.warm_up(
            self._backend.run, self.feeds(), min_iterations, max_iterations, max_duration_ns
        )
        told = usage.used(before, self._cpu_at_rest_ns)
        return dict(told, durations_ns=durations, steady=steady)

    def round(self, iterations: int, warmup: int = 0) -> Dict[str, Any]:
        """Time `iterations` runs over the first inputs, in turn."""
        before = usage.read()
        # What was kept of the round before is freed here, and not in somebody's time.
        self._last = None
        timed = measure.time_round(self._backend.run, self.feeds(), iterations, warmup)
        told = usage.used(before, self._cpu_at_rest_ns)
        # A copy: some libraries give memory that the next run writes to.
        self._last = timed._replace(outputs=[np.array(output) for output in timed.outputs])
        return dict(told, durations_ns=timed.durations_ns)

    def timed_outputs(self) -> Dict[str, Any]:
        """Write what the last run of the last round gave, as answers are written."""
        job, last = self._job, self._last
        if last is None:
            raise RunnerError("job", "nothing was timed yet: send `round` before `timed_outputs`")
        if job.softmax:
            message = "a softmax on the answers is decided by all of them, and these are a few rows"
            raise RunnerError("unsupported", message)
        first = last.feed * job.batch
        keep = min(job.batch, len(self._rows) - first)
        with AnswerFiles(
            job.work,
            self._about.outputs,
            keep,
            job.max_output_bytes,
            job.output_axes,
            stem="timed",
        ) as files:
            files.add(last.outputs, job.batch, keep)
            return {"outputs": files.finish(), "first_row": first, "rows": keep}

    def stages(self, iterations: int) -> Dict[str, Any]:
        """Time the parts of a query one by one."""
        job, about = self._job, self._about
        count = len(self.feeds())
        way, absent = stages.way_to(self._backend, job.backend, job.device, self.feeds()[0])
        found = stages.take_apart(
            lambda index: self.batch_from(index % count * job.batch),
            way,
            lambda given: postprocess(given, about.outputs, job.batch, job.output_axes),
            iterations,
        )
        return {"stages": found, "absent": absent}

    def finish(self) -> Dict[str, Any]:
        """Nothing more: the reply is sent, then the runner ends."""
        return {}

    def batch_from(self, first: int) -> np.ndarray:
        """The batch that begins at row `first`, as the model takes it; never shorter."""
        job = self._job
        rows = self._rows[first : first + job.batch]
        if len(rows) < job.batch:
            padding = np.repeat(rows[-1:], job.batch - len(rows), axis=0)
            rows = np.concatenate([rows, padding])
        return prepare(rows, job.inputs, self._about.input, job.input_axes)

    def feeds(self) -> List[np.ndarray]:
        """The batches that are timed, in turn: the first 64 inputs, or 256 MiB of them."""
        if self._feeds is None:
            feeds = [self.batch_from(0)]
            last = min(len(self._rows), _TIMED_INPUTS) - self._job.batch
            for first in range(self._job.batch, last + 1, self._job.batch):
                if (len(feeds) + 1) * feeds[0].nbytes > _TIMED_BYTES:
                    break
                feeds.append(self.batch_from(first))
            self._feeds = feeds
        return self._feeds


def _load(job: InferJob, events: Events) -> Any:
    """The worker, and the fields of the event `loaded`."""
    rows = open_rows(job.inputs)
    item_shape = fed_item_shape(job.inputs, rows, job.input_axes)
    settings, variables = split_variables(job.settings, os.environ)
    cache = compile_costs.Cache(job.cache, job.work)
    backend = backends.create(
        job.backend,
        LoadRequest(
            path=job.model_path,
            format=job.model_format,
            settings=settings,
            precision=job.precision,
            device=job.device,
            threads=job.threads,
            batch=job.batch,
            item_shape=item_shape,
            keep_ir=job.keep_ir,
            instruction_set=job.instruction_set,
            fingerprint=job.fingerprint,
            cache=cache.folder,
        ),
    )
    try:
        worker, fields = _loaded(job, events, backend, rows, item_shape)
        check_kept(variables, os.environ)
    except BaseException:
        _close(backend)
        raise
    fields["compile_cache"] = cache.state
    if variables:
        fields["ran"]["settings"] = dict(fields["ran"].get("settings", {}), variables=variables)
        if "compiled" in fields:
            fields["compiled"] = fingerprints.beside(fields["compiled"], variables)
    return worker, fields


def _close(backend: Backend) -> None:
    """Free what there is of a backend that failed; its own failure is what is told."""
    try:
        backend.close()
    except Exception as error:
        print(f"runner: closing the backend failed as well: {error!r}", flush=True)


def _loaded(
    job: InferJob, events: Events, backend: Backend, rows: np.ndarray, item_shape: Tuple[int, ...]
) -> Any:
    peak = compile_costs.Peak()
    started = time.perf_counter_ns()
    backend.load()
    loaded = time.perf_counter_ns()
    backend.compile()
    compiled = time.perf_counter_ns()
    peak_mib = peak.mib()
    about = backend.describe()
    check_fit(about.input, item_shape, job.batch)
    worker = ModelWorker(job, events, backend, about, rows)
    feed = worker.batch_from(0)
    before = time.perf_counter_ns()
    outputs = backend.run(feed)
    after = time.perf_counter_ns()
    check_outputs(outputs, about.outputs)
    proving = time.perf_counter_ns()
    proof = backend.prove(feed)
    proved = time.perf_counter_ns()
    fields: Dict[str, Any] = {
        "load_ns": loaded - started,
        "compile_ns": compiled - loaded,
        "first_inference_ns": after - before,
        "prove_ns": proved - proving,
        "compile_peak_mib": peak_mib,
        "input": about.input.as_document(),
        "outputs": [spec.as_document() for spec in about.outputs],
        "ran": dict(about.ran, **proof),
    }
    if job.fingerprint:
        scratch = os.path.join(job.work, fingerprints.FOLDER)
        fields["compiled"] = fingerprints.take(backend, scratch)
    if job.keep_ir:
        fields["ir"] = ir_files.keep(backend, os.path.join(job.work, ir_files.FOLDER))
    measure.settle()
    return worker, fields


def _answer(worker: ModelWorker, line: bytes) -> Any:
    """The reply to one line, and whether the worker is to end."""
    try:
        command = parse(line.decode("utf-8", "replace"), "the command")
        check(command, "command", "command")
        name = command.pop("command")
        reply = dict({"ok": True}, **getattr(worker, name)(**command))
    except Exception as error:
        failure = as_document(classify(error))
        print(f"runner: {failure['kind']}: {failure['message']}", flush=True)
        return {"ok": False, "error": failure}, False
    return reply, name == "finish"
