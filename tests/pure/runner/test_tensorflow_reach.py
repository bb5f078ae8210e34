"""Graphs that reach out of themselves are refused by node and operator; others pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.support import tensorflow_reach


def node(name: str, op: str, stream: bytes = b"stderr") -> Any:
    return SimpleNamespace(name=name, op=op, attr={"output_stream": SimpleNamespace(s=stream)})


def graph(*nodes: Any, inner: tuple[Any, ...] = ()) -> Any:
    """A `GraphDef` of nodes, and of one function of inner nodes."""
    library = SimpleNamespace(function=[SimpleNamespace(node_def=list(inner))])
    return SimpleNamespace(node=list(nodes), library=library)


@pytest.mark.parametrize(
    "op",
    [
        *("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"),
        *("SaveV2", "RestoreV2", "MergeV2Checkpoints", "InitializeTableFromTextFileV2"),
        *("WholeFileReaderV2", "TFRecordDatasetV2", "ExperimentalCSVDataset", "SaveDatasetV2"),
        *("SnapshotDatasetReader", "ListSnapshotChunksDataset", "CreateSummaryFileWriter"),
        *("WriteScalarSummary", "DebugIdentityV3", "RpcClient", "RemoteCall", "GeneratorDataset"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_what_reaches_out_is_named(op: str, inside: bool) -> None:
    harmless, harmful = node("x", "Placeholder"), node("bad/node", op)
    found = graph(harmless, inner=(harmful,)) if inside else graph(harmless, harmful)
    with pytest.raises(RunnerError) as caught:
        tensorflow_reach.refuse(found, "/m.pb")
    assert caught.value.kind == "model"
    assert f"/m.pb reaches out of itself: bad/node ({op}) would" in caught.value.message
    assert "It was not run" in caught.value.message


def test_many_are_counted() -> None:
    found = graph(*(node(f"n{i}", "ReadFile") for i in range(5)))
    with pytest.raises(RunnerError, match=r"n2 \(ReadFile\) and 2 more would"):
        tensorflow_reach.refuse(found, "/m.pb")


def test_what_computes_passes() -> None:
    ops = ("Placeholder", "Const", "Conv2D", "ReadVariableOp", "Snapshot", "TensorArrayWriteV3")
    more = ("PartitionedCall", "Identity", "PrintV2", "MergeSummary", "DebugGradientIdentity")
    tensorflow_reach.refuse(graph(*(node(op.lower(), op) for op in ops + more)), "/m.pb")


def test_printing_to_a_file_is_writing_one() -> None:
    with pytest.raises(RunnerError, match=r"p \(PrintV2\)"):
        tensorflow_reach.refuse(graph(node("p", "PrintV2", b"file:///etc/x")), "/m.pb")


def test_a_folder_may_save_and_restore_and_fill_its_tables_and_nothing_else() -> None:
    beside = [node(op, op) for op in ("SaveV2", "RestoreV2", "InitializeTableFromTextFileV2")]
    tensorflow_reach.refuse(graph(inner=tuple(beside)), "/saved", with_checkpoints=True)
    with pytest.raises(RunnerError, match=r"w \(WriteFile\) would"):
        tensorflow_reach.refuse(graph(*beside, node("w", "WriteFile")), "/s", with_checkpoints=True)
