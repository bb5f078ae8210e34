"""A call of a Python function that does nothing, timed one by one, and all together."""

import time

import serving


def nothing(feed):
    """Give what it is given."""
    return feed


def take(iterations, warmup):
    """Time calls with a clock around each, then as many in a loop without one."""
    for _ in range(warmup):
        nothing(None)
    durations = [0] * iterations
    for i in range(iterations):
        started = time.perf_counter_ns()
        nothing(None)
        ended = time.perf_counter_ns()
        durations[i] = ended - started
    began = time.perf_counter_ns()
    for _ in range(iterations):
        nothing(None)
    return {"durations_ns": durations, "loop_ns": time.perf_counter_ns() - began}


serving.serve(take)
