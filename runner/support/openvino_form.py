"""What OpenVINO compiled a model to, as one hash: the graph that runs, its constants, its passes.

The runtime graph has each executed layer with its kernel, formats and inputs, but no weights; those
are taken from the model that was compiled: graph and transformations say what became of them.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Mapping

from runner import fingerprints
from runner.fingerprints import Fingerprint
from runner.support import openvino_graph

_PROFILE = "OV_ENABLE_PROFILE_PASS"
"""OpenVINO writes each pass to the file that this variable names, where it names one."""

_NOT_EXECUTED = ("execTimeMcs", "execOrder", "originalLayersNames", "friendlyName")
"""What the runtime graph tells of a layer besides what runs: times, and names."""

_FILE = "passes.csv"


def fingerprint(
    compiled: Any, model: Any, unseen: Mapping[str, Any], passes: List[str]
) -> Fingerprint:
    """The fingerprint of a compiled model; how large its code is, OpenVINO does not tell.

    Args:
        compiled: `ov.CompiledModel`.
        model: the `ov.Model` that it was compiled from.
        unseen: properties of the plug-in that change what runs and that the graph does not show.
        passes: names of the transformations that changed it, in order.
    """
    told = [f"{name}={unseen[name]}" for name in sorted(unseen)]
    found = fingerprints.of_lines(
        "openvino",
        [*lines(compiled), *told],
        constants(model),
        operators=openvino_graph.by_primitive(openvino_graph.nodes(compiled)),
        passes=passes,
    )
    return replace(found, code_bytes=None)


def lines(compiled: Any) -> List[str]:
    """The runtime graph: for each layer its type, what is told of it, and where its inputs are from."""
    place: Dict[str, int] = {}
    found = []
    for index, operation in enumerate(compiled.get_runtime_model().get_ordered_ops()):
        place[operation.get_name()] = index
        about = operation.get_rt_info()
        told = {
            name: openvino_graph.told(about, name)
            for name in sorted(about.keys())
            if name not in _NOT_EXECUTED
        }
        sources = [one.get_source_output() for one in operation.inputs()]
        inputs = [f"{place[s.get_node().get_name()]}.{s.get_index()}" for s in sources]
        words = " ".join(f"{name}={value}" for name, value in told.items())
        found.append(f"{operation.get_type_name()} ({', '.join(inputs)}) {words}")
    return found


def constants(model: Any) -> List[Any]:
    """The arrays of a model, in the order in which it is computed."""
    return [
        operation.get_data()
        for operation in model.get_ordered_ops()
        if operation.get_type_name() == "Constant"
    ]


@contextlib.contextmanager
def noted(folder: str) -> Iterator[List[str]]:
    """Meanwhile OpenVINO notes its passes; afterwards the list holds those that changed something."""
    path = os.path.join(folder, _FILE)
    before = os.environ.get(_PROFILE)
    os.environ[_PROFILE] = path
    found: List[str] = []
    try:
        yield found
    finally:
        if before is None:
            del os.environ[_PROFILE]
        else:
            os.environ[_PROFILE] = before
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                found.extend(that_changed(file))


def that_changed(rows: Any) -> List[str]:
    """The transformations that changed a model, in order and each once, by OpenVINO's own table.

    A row is `t;NAME;MANAGER;MILLISECONDS;1`, with 0 for one that changed nothing, or `m;` for all of
    a manager.
    """
    found: Dict[str, None] = {}
    for row in rows:
        cells = row.strip().split(";")
        if len(cells) >= 4 and cells[0] == "t" and cells[-1] == "1":
            found.setdefault(cells[1].rpartition("::")[2], None)
    return list(found)
