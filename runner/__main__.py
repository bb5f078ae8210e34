"""`python -m runner job.json`: one job.

Exit status: 0 done; 1 the job failed, and `error.json` in its work folder says why; 2 the job
document is wrong; 130 interrupted, or the parent went away.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from contextlib import suppress
from typing import List, Optional

from runner import instruction_sets
from runner.errors import RunnerError, as_document, classify
from runner.events import Events
from runner.jobs import ConvertJob, CorruptJob, InferJob, Job, PrepareJob, ProbeJob, read_job
from runner.lifeline import PARENT_GONE, die_with_parent, hold_on_to_stdin
from runner.threads import limit_threads


def main(arguments: List[str]) -> int:
    """Run the job document named by the one argument; the exit status."""
    events = Events()
    faulthandler.enable(sys.stderr)
    if len(arguments) != 1:
        print("usage: python -m runner job.json", file=sys.stderr)
        return 2
    try:
        with open(arguments[0], encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        print(f"runner: the job document can't be read: {error}", file=sys.stderr)
        return 2
    work = _work_folder(text)
    try:
        job = read_job(text)
        os.makedirs(job.work, exist_ok=True)
    except (RunnerError, OSError) as error:
        return _failed(classify(error, "job"), work, status=2)
    try:
        _begin(job, arguments, events)
        _do(job, events)
    except KeyboardInterrupt:
        return PARENT_GONE
    except Exception as error:
        return _failed(classify(error), job.work, status=1)
    return 0


def _begin(job: Job, arguments: List[str], events: Events) -> None:
    """Make this process ready: its instruction sets, its parent, what was left here, its threads."""
    if isinstance(job, InferJob):
        # First of all: the process may begin once more here.
        instruction_sets.enter(job.instruction_set, arguments, events.give_back)
    if not (isinstance(job, InferJob) and job.commands is not None):
        # What a job with its own commands does needs nobody, as under `docker compose run`, whose
        # standard input may be closed from the start.
        hold_on_to_stdin()
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(job.work, "error.json"))
    if job.parent_death_signal:
        die_with_parent()
    limit_threads(job.threads)


def _do(job: Job, events: Events) -> None:
    """Import what the job needs, only now that the threads are set, and do it."""
    if isinstance(job, ProbeJob):
        from runner.probe import probe

        probe(job, events)
    elif isinstance(job, ConvertJob):
        from runner.converters import convert

        convert(job, events)
    elif isinstance(job, (PrepareJob, CorruptJob)):
        from runner.preprocess import prepare

        prepare(job, events)
    else:
        from runner.worker import serve

        serve(job, events)


def _failed(error: RunnerError, work: Optional[str], status: int) -> int:
    """Say it on standard error and in `error.json`, which is whole or absent."""
    print(f"runner: {error.kind}: {error.message}\n{error.detail}", file=sys.stderr, flush=True)
    if work is None:
        return status
    path = os.path.join(work, "error.json")
    try:
        os.makedirs(work, exist_ok=True)
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(dict({"schema_version": 1}, **as_document(error)), file, indent=1)
        os.replace(path + ".part", path)
    except OSError as problem:
        print(f"runner: {path} can't be written: {problem}", file=sys.stderr, flush=True)
    return status


def _work_folder(text: str) -> Optional[str]:
    """The work folder of a document that may be wrong in everything else."""
    with suppress(ValueError, AttributeError, RecursionError):
        work = json.loads(text).get("work")
        if isinstance(work, str) and os.path.isdir(work):
            return work
    return None


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: what was asked is done and written, and the destructors of native libraries
    # can still crash or hang, which would turn a success into a failure.
    os._exit(code)
