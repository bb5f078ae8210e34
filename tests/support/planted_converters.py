"""Converters for tests, brought along as any environment brings its own: by entry points.

They copy a model of the backend `null` and do something to it, or to whoever runs them.
"""

from __future__ import annotations

from pathlib import Path

_MODULE = """
import hashlib, json, os, signal, time

def made(job, **changes):
    with open(job.source) as file:
        model = json.load(file)
    model.update(changes)
    with open(job.target, "w") as file:
        json.dump(model, file)
    return {
        "files": {os.path.basename(job.target): hashlib.sha256(open(job.target, "rb").read()).hexdigest()},
        "versions": {"planted": "1.0"},
        "probe_max_abs_diff": None,
    }
"""
_CONVERTERS = {
    "copied": "def convert(job):\n    return made(job)\n",
    "otherwise": "def convert(job):\n    return made(job, seed=7)\n",
    "silent_nan": 'def convert(job):\n    return made(job, fault="nan")\n',
    "unreadable": 'def convert(job):\n    return made(job, fault="load")\n',
    "fewer_classes": "def convert(job):\n    return made(job, classes=3)\n",
    "hanging_model": 'def convert(job):\n    return made(job, fault="hang")\n',
    "rounded": (
        "def convert(job):\n"
        '    scores = {"name": "scores", "dtype": "int8", "shape": [5], "scale": 0.5, "zero_point": 0}\n'
        "    return made(job, outputs=[scores])\n"
    ),
    "without_files": "def convert(job):\n    return dict(made(job), files={})\n",
    "wrong_axes": "def convert(job):\n    return dict(made(job), input_axes=[1, 0])\n",
    "two_axes": "def convert(job):\n    return dict(made(job), input_axes=[0, 1])\n",
    "three_axes": "def convert(job):\n    return dict(made(job), input_axes=[0, 2, 1])\n",
    "hanging": "def convert(job):\n    time.sleep(3600)\n",
    "crashing": "def convert(job):\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
    "greedy": (
        "def convert(job):\n"
        "    held = []\n"
        "    while True:\n"
        "        held.append(bytearray(os.urandom(1 << 20) * 32))\n"
    ),
    "rubbish": 'def convert(job):\n    open(job.target, "w").write("{")\n    return {"files": {}}\n',
    "refusing": (
        "from runner.errors import RunnerError\n"
        "def convert(job):\n"
        '    raise RunnerError("unsupported", "no counterpart of the operator Foo; export it without")\n'
    ),
}
NAMES = tuple(_CONVERTERS)


def plant(folder: Path, runner: Path) -> Path:
    """A folder that holds the package `runner` and a distribution with every converter.

    Each is `json>json:<name>`.

    Args:
        folder: where to make it.
        runner: the folder that holds the package `runner`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runner").symlink_to(runner / "runner")
    info = folder / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    entries = "".join(f"json>json:{name} = planted_{name}\n" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[harness.converters]\n{entries}")
    for name, text in _CONVERTERS.items():
        (folder / f"planted_{name}.py").write_text(_MODULE + text)
    return folder
