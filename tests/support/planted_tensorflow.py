"""An interpreter with TensorFlow, adopted as it is, whose converters go wrong on purpose."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .environment_python import interpreter

_CONVERTERS = {
    # Keras 3 keeps its variables where TFLiteConverter does not look: it succeeds, and the file
    # answers NaN.
    "keras>tflite:naive": """
import hashlib, os

def convert(job):
    import keras
    import tensorflow as tf
    model = keras.saving.load_model(job.source, compile=False)
    traced = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32)
    )
    content = tf.lite.TFLiteConverter.from_concrete_functions([traced], model).convert()
    with open(job.target, "wb") as file:
        file.write(content)
    name = os.path.basename(job.target)
    return {
        "files": {name: hashlib.sha256(content).hexdigest()},
        "versions": {"tensorflow": tf.__version__},
        "probe_max_abs_diff": None,
    }
""",
    "keras>tflite:hanging": """
import time

def convert(job):
    time.sleep(3600)
""",
    # Saved once more, with every bias of the last layer but one forgotten.
    "keras>keras:forgetful": """
import hashlib, os

def convert(job):
    import keras
    model = keras.saving.load_model(job.source, compile=False)
    for layer in model.layers[len(model.layers) // 2 :]:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(layer.beta * 0)
            break
    model.save(job.target)
    content = open(job.target, "rb").read()
    name = os.path.basename(job.target)
    return {
        "files": {name: hashlib.sha256(content).hexdigest()},
        "versions": {"keras": keras.__version__},
        "probe_max_abs_diff": None,
    }
""",
}
_WHERE = "import sysconfig; print(sysconfig.get_paths()['purelib'])"


def python_with_planted_converters(folder: Path) -> Path:
    """An interpreter that has all of `tensorflow-2.21`, and the converters above.

    Args:
        folder: where its virtual environment is made.
    """
    tensorflow = interpreter("tensorflow-2.21")
    subprocess.run([tensorflow, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    own, theirs = (
        Path(subprocess.run([one, "-c", _WHERE], check=True, capture_output=True, text=True).stdout.strip())
        for one in (python, tensorflow)
    )  # fmt: skip
    (own / "theirs.pth").write_text(f"{theirs}\n")
    info = own / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    entries = []
    for number, (name, text) in enumerate(_CONVERTERS.items()):
        (own / f"planted_{number}.py").write_text(text)
        entries.append(f"{name} = planted_{number}")
    (info / "entry_points.txt").write_text("[harness.converters]\n" + "\n".join(entries) + "\n")
    return python
