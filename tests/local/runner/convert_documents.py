"""Run inside an environment: do each convert job of a list, and say how each ended.

`python convert_documents.py JOBS.json` prints a list, of the events `converted` and the errors.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from runner import converters
from runner.errors import RunnerError
from runner.jobs import ConvertJob, read_job


class Kept:
    """Events, kept instead of written."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}

    def emit(self, name: str, **fields: Any) -> None:
        """Keep one."""
        self.last = {"event": name, **fields}


def main() -> None:
    ended = []
    with contextlib.redirect_stdout(sys.stderr):
        for document in json.loads(Path(sys.argv[1]).read_text()):
            events = Kept()
            try:
                job = read_job(json.dumps(document))
                assert isinstance(job, ConvertJob)
                Path(job.work).mkdir(exist_ok=True)
                converters.convert(job, events)  # type: ignore[arg-type]
            except RunnerError as error:
                ended.append({"kind": error.kind, "message": error.message})
                continue
            ended.append(events.last)
    print(json.dumps(ended))


main()
