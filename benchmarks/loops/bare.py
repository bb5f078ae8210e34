"""What somebody writes by hand to time an ONNX model: a session, a loop, a clock."""

import json
import sys
import time

import onnxruntime_model
import serving

session, entry, names, feeds = onnxruntime_model.load(json.loads(sys.argv[1]))


def take(iterations, warmup):
    """Time a few calls, after some that are not timed."""
    for i in range(warmup):
        session.run(names, {entry: feeds[i % len(feeds)]})
    durations = []
    for i in range(iterations):
        feed = feeds[i % len(feeds)]
        started = time.perf_counter_ns()
        outputs = session.run(names, {entry: feed})
        ended = time.perf_counter_ns()
        del outputs
        durations.append(ended - started)
    return {"durations_ns": durations}


serving.serve(take)
