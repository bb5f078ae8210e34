"""Pickles that would run code: nothing of them runs, and what they would run is named."""

from __future__ import annotations

import io
import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.weights_files import (
    HEAD,
    ORDERED,
    number,
    pickled,
    state,
    text,
    torch_legacy,
    torch_zip,
)

from harness.errors import ModelError
from harness.models.inspect import inspect_model
from harness.models.pickle_file import BrokenPickle, Rules, Scan, Unknown, follow

Write = Callable[..., Path]


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def _attacks(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles by how they call, and the name that each calls."""
    command = f"touch {marker}"
    quoted = command.encode()
    system = "posix.system"
    shelved = text("posix") + text("system")
    return {
        **{
            f"protocol {number}": (pickle.dumps(_Evil(marker), protocol=number), system)
            for number in range(6)
        },
        "inst": (b"(S'" + quoted + b"'\nios\nsystem\n.", "os.system"),
        "obj": (b"(cos\nsystem\nS'" + quoted + b"'\no.", "os.system"),
        "newobj": (
            pickled(b"csubprocess\nPopen\n" + text(command) + b"\x85\x81"),
            "subprocess.Popen",
        ),
        "stack global": (b"\x80\x04" + shelved + b"\x93" + text(command) + b"\x85R.", system),
        "python 2": (pickled(b"c__builtin__\neval\n" + text("1") + b"\x85R"), "builtins.eval"),
        "name made while loading": (
            b"\x80\x04c_codecs\nencode\n" + text("posix") + b"\x85R" + text("system") + b"\x93.",
            "a name.made while loading",
        ),
        "import alone": (pickled(b"cantigravity\nflight\n"), "antigravity.flight"),
        "extension": (pickled(b"\x82\x01"), "copyreg.extension 1"),
        "behind a state_dict": (
            pickled(state(HEAD) + b"cos\nsystem\n" + text(command) + b"\x85R0"),
            "os.system",
        ),
        "build": (pickled(ORDERED + b"cos\nsystem\n" + text(command) + b"\x85Rb"), "os.system"),
        "cut": (pickled(b"cos\nsystem\n" + text(command) + b"\x85R")[:-1], "os.system"),
        "beside layers": (
            pickled(b"ctorch.nn.modules.conv\nConv2d\n0cos\nsystem\n" + text(command) + b"\x85R"),
            "os.system",
        ),
    }


NAMES = tuple(_attacks(Path("x")))


@pytest.mark.parametrize("write", [torch_zip, torch_legacy])
@pytest.mark.parametrize("attack", NAMES)
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(
    tmp_path: Path, attack: str, write: Write
) -> None:
    marker = tmp_path / "ran"
    opcodes, called = _attacks(marker)[attack]
    path = write(tmp_path / "m.pth", HEAD, opcodes)
    with pytest.raises(ModelError) as caught:
        inspect_model(path, "resnet50")
    assert called in str(caught.value)
    assert "not opened" in str(caught.value)
    assert "safetensors" in caught.value.remedy
    assert not marker.exists()


@pytest.mark.parametrize("attack", NAMES)
def test_a_bare_pickle_is_refused_in_the_same_way(tmp_path: Path, attack: str) -> None:
    marker = tmp_path / "ran"
    opcodes, called = _attacks(marker)[attack]
    path = tmp_path / "m.pth"
    path.write_bytes(opcodes)
    with pytest.raises(ModelError, match=r"wants to run|whole module") as caught:
        inspect_model(path)
    assert called in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    "attack", [*(f"protocol {n}" for n in range(6)), "inst", "obj", "stack global"]
)
def test_these_attacks_are_real(tmp_path: Path, attack: str) -> None:
    marker = tmp_path / "ran"
    pickle.loads(_attacks(marker)[attack][0])  # noqa: S301 - shows that it would run
    assert marker.exists()


def test_a_whole_module_is_called_one(tmp_path: Path) -> None:
    opcodes = pickled(
        b"ctorchvision.models.resnet\nResNet\n)\x81}("
        + text("_modules")
        + b"ctorch.nn.modules.conv\nConv2d\n)\x81"
        + b"ub"
    )
    path = torch_zip(tmp_path / "m.pth", {}, opcodes)
    with pytest.raises(ModelError, match="holds a whole module, not a state_dict") as caught:
        inspect_model(path)
    assert "torchvision.models.resnet.ResNet, torch.nn.modules.conv.Conv2d" in str(caught.value)
    assert "torch.save(model.state_dict()" in str(caught.value)


@pytest.mark.parametrize(
    ("opcodes", "said"),
    [
        (pickled(b"R"), "more from its stack"),
        (pickled(b"t"), "an end without a beginning"),
        (pickled(b"h\x07"), "7"),
        (pickled(b"}(K\x01u"), "a key has no value"),
        (pickled(b"\x97"), "NEXT_BUFFER"),
        (b"\x80\x02}", "exhausted"),
        (b"\xff\xff", "unknown"),
        (b"\x80\x02X\xff\xff\xff\x7fab.", "expected"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab.", "expected"),
        (pickled(text("k") + b"Q"), "no storage"),
    ],
)
def test_a_pickle_that_makes_no_sense_is_broken_and_no_crash(opcodes: bytes, said: str) -> None:
    def refer(about: Any) -> Any:
        raise BrokenPickle("it refers to something that is no storage")

    with pytest.raises(BrokenPickle, match=said):
        follow(io.BytesIO(opcodes), Rules(lambda _, __: Unknown(), refer), Scan())


def test_a_memo_index_without_bounds_takes_no_memory() -> None:
    scan = Scan()
    opcodes = pickled(b"K\x05r\xff\xff\xff\x7f")
    follow(io.BytesIO(opcodes), Rules(lambda _, __: Unknown(), lambda _: Unknown()), scan)  # type: ignore[arg-type, return-value]
    assert scan.value == 5


def test_depth_without_bounds_is_followed_without_recursion() -> None:
    depth = 200_000
    scan = Scan()
    opcodes = pickled(b"(" * depth + b"t" * depth)
    follow(io.BytesIO(opcodes), Rules(lambda _, __: Unknown(), lambda _: Unknown()), scan)  # type: ignore[arg-type, return-value]
    assert isinstance(scan.value, tuple)
    while scan.value:
        (scan.value,) = scan.value


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_what_pickle_makes_of_them(protocol: int) -> None:
    value = {"a": [1, -(2**70), 0.5, None, True], "b": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))}
    scan = Scan()
    stream = io.BytesIO(pickle.dumps(value, protocol=protocol) + b"rest")
    follow(stream, Rules(lambda _, __: Unknown(), lambda _: Unknown()), scan)  # type: ignore[arg-type, return-value]
    assert scan.value == value
    assert scan.imports == {}
    assert stream.read() == b"rest"


def test_a_number_helper_writes_what_pickle_reads() -> None:
    assert pickle.loads(pickled(number(-3))) == -3  # noqa: S301 - written above


def _bomb(call: bytes, container: bytes, times: int) -> bytes:
    """A pickle that gives one large container of the memo to a call over and over."""
    fill = container + b"q\x000"
    return pickled(fill + b"(" + (call + b"(h\x00tR") * times + b"t")


@pytest.mark.parametrize(
    ("call", "container", "said"),
    [
        (b"ctorch\nSize\n", b"(" + b"K\x01" * 20_000 + b"t", "20000 axes"),
        (
            b"ccollections\nOrderedDict\n",
            b"}(" + b"".join(text(f"k{i}") + b"N" for i in range(20_000)) + b"u",
            "over and over",
        ),
        (b"ctorch\nTensor\n", b"(" + b"K\x01" * 20_000 + b"t", "over and over"),
    ],
)
def test_a_small_file_cannot_fill_the_memory(
    tmp_path: Path, call: bytes, container: bytes, said: str
) -> None:
    path = torch_zip(tmp_path / "m.pth", HEAD, _bomb(call, container, 2000))
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=said):
            inspect_model(path, "resnet50")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_many_tensors_of_many_axes_are_no_bomb(tmp_path: Path) -> None:
    shapes = {**HEAD, **{f"a{i}": (1,) * 8 for i in range(3000)}}
    file = inspect_model(torch_zip(tmp_path / "m.pth", shapes), "resnet50")
    assert len(file.tensors) == len(shapes)
