"""A session as the runner's backend makes it, and the arrays that it is fed in turn."""

import numpy as np
import onnxruntime as ort


def load(asked):
    """The session, the name of its input, its outputs' names, and the feeds [batch, …].

    By default as the backend's own default: one thread, every optimisation. As the runner does, it
    makes a first call at once, in which the library takes most of its memory.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = asked.get("threads", 1)
    options.graph_optimization_level = getattr(
        ort.GraphOptimizationLevel, asked.get("level", "ORT_ENABLE_ALL")
    )
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(asked["model"], options, providers=["CPUExecutionProvider"])
    rows, batch = np.load(asked["inputs"]), asked["batch"]
    feeds = [rows[i : i + batch].copy() for i in range(0, len(rows) - batch + 1, batch)]
    names = [node.name for node in session.get_outputs()]
    entry = session.get_inputs()[0].name
    session.run(names, {entry: feeds[0]})
    return session, entry, names, feeds
