"""Operators by which a TensorFlow graph reaches out of itself, refused before anything runs.

A graph is a program: TensorFlow has operators that read and write any file, call Python of the
process, and talk to other machines. No model that is fed an image needs one.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, List

from runner.errors import RunnerError

_MOST_NAMED = 3
_CHECKPOINTS = r"Save|SaveV2|SaveSlices|Restore|RestoreV2|RestoreSlice|MergeV2Checkpoints"
_TABLES = r"InitializeTableFromTextFile(V2)?"
_OTHERS = (
    r"ReadFile|WriteFile|MatchingFiles|DumpTensor|CalibrationStatisticsSaver|ImmutableConst|"
    r"DistributedSave|DTensorRestoreV2|LoadAndRemapMatrix|GenerateVocabRemapping|"
    r"FileSystemSetConfiguration|ImportEvent|DecodeProtoV2|EncodeProto|"
    r"(Eager)?PyFunc(Stateless)?|"
    r"(WholeFile|TextLine|FixedLengthRecord|TFRecord|LMDB|Identity)Reader(V2)?|"
    r"(Experimental)?(TextLine|TFRecord|FixedLengthRecord|LMDB|Sql|CSV|MatchingFiles)Dataset\w*|"
    r"(Save|Load|Cache|Generator|DataService|Register)Dataset\w*|"
    r"(List)?Snapshot\w*Dataset\w*|"
    r"(Create)?Summary(File|Db)?Writer|Write\w*Summary|"
    r"Debug(Identity|NanCount|NumericSummary)(V\d)?|"
    r"RemoteCall|Rpc\w+|TryRpc|(Create|Initialize)TRTResource\w*"
)
_IN_A_MODEL = re.compile(f"{_CHECKPOINTS}|{_TABLES}|{_OTHERS}")
_IN_A_FOLDER = re.compile(_OTHERS)


def refuse(definition: Any, path: str, with_checkpoints: bool = False) -> None:
    """Refuse a graph that reads or writes files, calls Python, or talks to other machines.

    Args:
        definition: a `GraphDef`; the functions of its library are looked into as well.
        path: of the model, for the message.
        with_checkpoints: let those pass that a SavedModel saves and restores its variables and
            fills its tables by, which are not part of what it computes.

    Raises:
        RunnerError: kind `model`, naming nodes and operators.
    """
    known = _IN_A_FOLDER if with_checkpoints else _IN_A_MODEL
    found = [
        f"{node.name} ({node.op})"
        for node in nodes(definition)
        if known.fullmatch(node.op) or _prints_to_a_file(node)
    ]
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise RunnerError(
            "model",
            f"{path} reaches out of itself: {', '.join(found[:_MOST_NAMED])}{more} would read or "
            "write files, call Python or talk to other machines when it is run. It was not run: "
            "export the model without these nodes, and check where the file comes from",
        )


def nodes(definition: Any) -> List[Any]:
    """All nodes of a `GraphDef`, those of its functions too."""
    functions: Iterable[Any] = definition.library.function
    return [*definition.node, *(node for each in functions for node in each.node_def)]


def _prints_to_a_file(node: Any) -> bool:
    return node.op == "PrintV2" and node.attr["output_stream"].s.startswith(b"file:")
