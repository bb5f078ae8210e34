"""Finding backends, converters and preprocessors: the runner's, and those an environment brings.

A module of `runner.backends` is a backend by the name of its file: the first underscore is the dot,
so `torch_compile.py` is `torch.compile`. A module of `runner.converters` with `_to_` in its name is
the converter `source>target`; where several tools do that, the tool follows after two underscores,
and in the converter's name after a colon. A module of `runner.preprocessors` is a preprocessor by its file's
name. A distribution that is installed in an environment adds its own by entry points of the groups
`harness.backends`, `harness.converters` and `harness.preprocessors`: that is how a device or a
stack comes along that the runner does not know.
"""

from __future__ import annotations

import os
from importlib import import_module, metadata
from types import ModuleType
from typing import Any, Callable, Dict, Iterable, Mapping, Optional

BACKENDS = "harness.backends"
CONVERTERS = "harness.converters"
PREPROCESSORS = "harness.preprocessors"

Load = Callable[[], ModuleType]


def backend_name(stem: str) -> Optional[str]:
    """`torch.compile` for the file `torch_compile`; None for what is no backend."""
    return None if stem.startswith("_") or stem == "base" else stem.replace("_", ".", 1)


def converter_name(stem: str) -> Optional[str]:
    """`onnx>torch` for the file `onnx_to_torch`, `torch>onnx:dynamo` for `torch_to_onnx__dynamo`.

    None for what is no converter.
    """
    edge, told, tool = stem.partition("__")
    source, found, target = edge.partition("_to_")
    if not (found and source and target) or (told and not tool):
        return None
    return f"{source}>{target}:{tool}" if tool else f"{source}>{target}"


def preprocessor_name(stem: str) -> Optional[str]:
    """`opencv` for the file `opencv`; None for what is no preprocessor."""
    return None if stem.startswith("_") or stem == "base" else stem


def find(
    package: ModuleType, group: str, name_of: Callable[[str], Optional[str]]
) -> Dict[str, Load]:
    """What there is, by name, each to be imported when it is asked for.

    The runner's own come first; an entry point of the same name does not replace one.

    Args:
        package: the runner's own modules.
        group: of the entry points.
        name_of: the name of a module of the package, or None if it is no such thing.
    """
    found: Dict[str, Load] = {}
    for stem in _stems(package.__path__):
        name = name_of(stem)
        if name is not None:
            found[name] = _importer(f"{package.__name__}.{stem}")
    for entry in entry_points(group):
        found.setdefault(entry.name, entry.load)
    return found


def entry_points(group: str) -> Iterable[Any]:
    """The entry points of a group, in the order of their names."""
    everything: Any = metadata.entry_points()
    if hasattr(everything, "select"):
        named = everything.select(group=group)
    else:
        # Before Python 3.10 it is a mapping, which may name one twice.
        mapping: Mapping[str, Iterable[Any]] = everything
        named = {entry.name: entry for entry in mapping.get(group, ())}.values()
    return sorted(named, key=lambda entry: str(entry.name))


def _stems(folders: Iterable[str]) -> Iterable[str]:
    names = {name for folder in folders for name in os.listdir(folder)}
    return sorted(name[: -len(".py")] for name in names if name.endswith(".py"))


def _importer(module: str) -> Load:
    return lambda: import_module(module)
