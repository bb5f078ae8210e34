"""Classify images as the original does: a session an image, and a text file an image.

`python session_an_image.py MODEL LEVEL OFFSET LIST OUT`: MODEL is an ONNX file whose input is
[N, 3, 224, 224] of x / 127.5 - 1, LEVEL a name of onnxruntime.GraphOptimizationLevel, OFFSET how
many scores come before the first class, LIST a file with a path a line, OUT a folder.
"""

import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

model, level, offset, listed, out = sys.argv[1:]


def read(path):
    """An image as the model's input: short side to 256, bilinear, the middle 224 by 224."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = 256 / min(image.size)
    size = tuple(round(side * scale) for side in image.size)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return np.ascontiguousarray((pixels / 127.5 - 1).transpose(2, 0, 1)[np.newaxis])


def classify(path, target):
    """Write the five likeliest classes with their probabilities, and the seconds of the call."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    started = time.time()
    scores = session.run(None, {session.get_inputs()[0].name: read(path)})[0]
    seconds = time.time() - started
    shifted = np.exp(scores[0, int(offset) :] - scores.max())
    likely = shifted / shifted.sum()
    best = np.argsort(-likely)[:5]
    lines = [f"{index}, {likely[index]:f}\n" for index in best]
    target.write_text("".join([*lines, f"{seconds:f}\n"]), encoding="utf-8")


folder = Path(out)
folder.mkdir()
for number, line in enumerate(Path(listed).read_text(encoding="utf-8").splitlines()):
    classify(line, folder / f"{number}.txt")
