"""The same calls through Polygraphy's runner: what a call takes, and what it says that it took."""

import json
import sys
import time

import onnxruntime_model
import polygraphy
import serving
from polygraphy.backend.onnxrt import OnnxrtRunner

session, entry, _, feeds = onnxruntime_model.load(json.loads(sys.argv[1]))
runner = OnnxrtRunner(session)
runner.activate()


def take(iterations, warmup):
    """Time a few calls of `infer` as it is by default, which looks at the inputs first."""
    for i in range(warmup):
        runner.infer({entry: feeds[i % len(feeds)]})
    durations, told = [], []
    for i in range(iterations):
        feed = feeds[i % len(feeds)]
        started = time.perf_counter_ns()
        outputs = runner.infer({entry: feed})
        ended = time.perf_counter_ns()
        del outputs
        durations.append(ended - started)
        told.append(round(runner.last_inference_time() * 1e9))
    return {"durations_ns": durations, "told_ns": told}


serving.serve(take, version=polygraphy.__version__)
