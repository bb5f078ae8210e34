"""What shows that a ceiling is kept: words of libraries, the kernel's notes, the C library's choice."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.small_elf import elf

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.instruction_sets import LADDER
from runner.support import ceiling, openvino_ceiling, xla_ceiling, xla_library
from runner.support.openvino_graph import Node

# As oneDNN 3.12, MKL 2024.0, PyTorch 2.13 and OpenVINO 2026.4 say.
WORDS = {
    "Intel SSE4.1": "sse4.1",
    "Intel AVX": "avx",
    "Intel AVX2": "avx2",
    "Intel AVX2 with Intel DL Boost": "avx512_vnni",
    "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions": "avx512",
    "Intel AVX-512 with Intel DL Boost": "avx512_vnni",
    "Intel AVX-512 with Intel DL Boost and bfloat16 support": "avx512_bf16",
    "Intel AVX10.1 and Intel AMX with bfloat16 and 8-bit integer support": "amx",
    "Intel(R) Advanced Vector Extensions 2 (Intel(R) AVX2) enabled processors": "avx2",
    "Intel(R) Advanced Vector Extensions 512 (Intel(R) AVX-512) enabled processors": "avx512",
    "Intel(R) Architecture processors": None,
    "DEFAULT": None,
    "AVX512": "avx512",
    "avx512 avx512_vnni": "avx512_vnni",
    "none": None,
    "brgconv_avx2_1x1_f32": "avx2",
    "jit_sse42_dw_f32": "sse4.1",
    "jit_uni_f32": None,
    "unknown_f32": None,
}
SPOKEN = """onnx
onednn_verbose,v1,info,oneDNN v3.12.0 (commit 80afa71)
onednn_verbose,v1,info,cpu,isa:Intel AVX2
onednn_verbose,v1,primitive,exec,cpu,reorder,jit:blk,undef,src:f32::blocked:abcd::f0,,1x64,0.02
onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,src:f32,,mb1,0.49
onednn_verbose,exec,cpu,convolution,jit:avx2,forward_training,src_f32::,,mb1,0.4"""


def request(instruction_set: str = "avx2") -> LoadRequest:
    return LoadRequest("m", "f", {}, "f32", "cpu", 1, 1, (3,), instruction_set=instruction_set)


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the kernel note the same of each thread, and the watch end at once."""

    def noted(*found: int | None) -> None:
        told = None if found == (None,) else {str(i): int(one or 0) for i, one in enumerate(found)}
        monkeypatch.setattr(ceiling, "_states", lambda: told)
        monkeypatch.setattr(ceiling, "_watched", lambda run: (run() or 7, 300))
        monkeypatch.setattr(ceiling, "_c_library", lambda asked: (True, f"kept to {asked}"))

    return noted


@pytest.mark.parametrize("words", WORDS)
def test_the_words_of_libraries_are_understood(words: str) -> None:
    assert ceiling.step_of(words) == WORDS[words]


def test_onednn_says_the_processor_and_its_kernels() -> None:
    assert ceiling.read_onednn(SPOKEN.splitlines()) == ("Intel AVX2", ["jit:blk", "jit:avx2"])
    assert ceiling.read_onednn([]) == (None, [])


def test_a_library_above_the_ceiling_is_refused_and_one_below_is_not() -> None:
    for step in (None, "avx", "avx2"):
        ceiling.require("b", "avx2", "it", "words", step)
    with pytest.raises(RunnerError, match=r"b was asked .* avx2 and does not: it says .* words"):
        ceiling.require("b", "avx2", "it", "words", "avx512")


def test_nothing_is_told_and_nothing_is_run_without_a_ceiling() -> None:
    assert ceiling.told("b", request("own"), lambda: pytest.fail("it ran")) == {}


def test_what_is_shown_and_what_nobody_tells_are_kept_apart(states: Callable[..., None]) -> None:
    states(-1, -1, 299)
    told = ceiling.told("b", request(), lambda: None, {"x": "word"}, {"y": "why"})
    entry = told["instruction_set"]
    assert entry["ceiling"] == "avx2"
    assert entry["proved"] == {
        "x": "word",
        "c_library": "kept to avx2",
        "kernel": "no AVX-512 register was in use in 3 threads over 7 runs",
    }
    assert entry["unproved"] == {"y": "why"}
    states(None)
    assert (
        "does not tell"
        in ceiling.told("b", request(), lambda: None)["instruction_set"]["unproved"]["kernel"]
    )


def test_registers_that_were_in_use_while_it_ran_break_a_ceiling_below_avx512(
    states: Callable[..., None],
) -> None:
    states(-1, 4)
    with pytest.raises(RunnerError, match=r"in use in 1 of the process's 2 threads"):
        ceiling.told("b", request("avx2"), lambda: None)
    for held in ("avx512", "amx"):
        assert (
            "kernel"
            not in ceiling.told("b", request(held), lambda: None)["instruction_set"]["proved"]
        )


def test_the_kernels_notes_are_read_thread_by_thread(tmp_path: Path) -> None:
    for thread, text in (
        ("7", "AVX512_elapsed_ms:\t-1\n"),
        ("12", "AVX512_elapsed_ms:\t8\n"),
        ("20", ""),
    ):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "arch_status").write_text(text)
    (tmp_path / "30").mkdir()
    assert ceiling._states(str(tmp_path)) == {"7": -1, "12": 8, "20": -1}
    (tmp_path / "7" / "arch_status").unlink()
    assert ceiling._states(str(tmp_path)) is None


def test_a_watch_runs_the_model_again_and_again() -> None:
    calls: list[int] = []
    runs, milliseconds = ceiling._watched(lambda: calls.append(1))
    assert runs == len(calls) >= 3
    assert milliseconds >= 300


def test_the_c_library_of_this_process_is_asked() -> None:
    kept, words = ceiling._c_library(LADDER[-1])
    assert (kept, words) == (True, "it has no functions above it")
    _, words = ceiling._c_library("sse4.1")
    assert "functions" in words


def test_what_native_code_prints_is_caught_and_goes_on_afterwards(capfd: Any) -> None:
    os.write(1, b"before\n")
    with ceiling.printed() as lines:
        os.write(1, b"within\n")
    os.write(1, b"after\n")
    assert lines == ["within"]
    assert capfd.readouterr().out == "before\nafter\n"


def test_openvino_is_believed_by_the_names_of_its_kernels(
    states: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    states(-1)
    flags = ["ssse3", "sse4_1", "avx", "avx2", "fma", "f16c", "bmi1", "bmi2"]
    wide = [*flags, "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"]
    monkeypatch.setattr(openvino_ceiling, "cpu", lambda: {"flags": wide})
    layers = [Node("Convolution", "brgconv_avx2_f32", "f32"), Node("Reorder", "ref_f32", "f32")]
    told = openvino_ceiling.told(request(), lambda: None, layers)["instruction_set"]
    assert told["proved"]["openvino"] == "its kernels brgconv_avx2_f32"
    assert told["unproved"] == {"openvino": "its kernels ref_f32 name no instruction set"}
    above = [Node("Convolution", "brgconv_avx512_f32", "f32")]
    with pytest.raises(RunnerError, match="OpenVINO says that it uses brgconv_avx512_f32"):
        openvino_ceiling.told(request(), lambda: None, above)
    dense = [*layers, Node("FullyConnected", "gemm_mlas_f32", "f32")]
    with pytest.raises(RunnerError, match=r"1 FullyConnected by MLAS, .* up to avx512"):
        openvino_ceiling.told(request(), lambda: None, dense)
    assert openvino_ceiling.told(request("avx512"), lambda: None, dense)
    monkeypatch.setattr(openvino_ceiling, "cpu", lambda: {"flags": flags})
    assert openvino_ceiling.told(request(), lambda: None, dense)


def test_xla_gets_the_flags_that_its_library_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "jaxlib"
    package.mkdir()
    (package / "__init__.py").write_text("")
    library = package / "libjax_common.so"
    library.write_bytes(elf({b".rodata": b"\0xla_cpu_max_isa_other\0xla_cpu_use_xnnpack\0"}))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "jaxlib", raising=False)
    xla_library.holds.cache_clear()
    assert xla_ceiling.set_flags("jax", "jaxlib", "own", "--a=1") == "--a=1"
    with pytest.raises(RunnerError, match=r"XLA of this jaxlib has no flag xla_cpu_max_isa"):
        xla_ceiling.set_flags("jax", "jaxlib", "avx2", "")
    library.write_bytes(elf({b".rodata": b"\0xla_cpu_max_isa\0xla_cpu_use_xnnpack\0"}))
    xla_library.holds.cache_clear()
    before = "--a=1 --xla_cpu_max_isa=AVX512"
    made = xla_ceiling.set_flags("jax", "jaxlib", "avx2", before)
    assert made == "--a=1 --xla_cpu_max_isa=AVX2 --xla_cpu_use_xnnpack=false"
    xla_library.holds.cache_clear()
