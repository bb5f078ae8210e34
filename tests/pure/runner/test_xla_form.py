"""What XLA compiled a program to: which parts count, and which only name things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.small_elf import elf

from runner.errors import RunnerError
from runner.support import xla_form

TEXT = """HloModule jit_f, entry_computation_layout={(f32[2]{0})->f32[2]{0}}

FileNames
1 "/somewhere/model.py"

StackFrames
1 {file_location_id=1 parent_frame_id=1}

%fused (p: f32[2]) -> f32[2] {
  %p = f32[2]{0} parameter(0)
  ROOT %mul.7 = f32[2]{0} multiply(%p, %p), metadata={op_name="jit(f)/mul" source_file="a.py"}
}

ENTRY %main.3 (x.1: f32[2]) -> f32[2] {
  %x.1 = f32[2]{0} parameter(0), metadata={op_name="x"}
  ROOT %fusion = f32[2]{0} fusion(%x.1), kind=kLoop, calls=%fused, stack_frame_id=3
}
"""


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def module(*literals: bytes) -> bytes:
    """A serialised HloModuleProto with these constants, and fields of every other kind."""
    instructions = b"".join(
        field(2, field(1, b"name") + b"\x18\x96\x01" + field(8, one)) for one in literals
    )
    computation = field(1, b"main") + instructions + b"\x2d" + bytes(4)
    return field(1, b"jit_f") + field(3, computation) + b"\x31" + bytes(8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dump with the code of two kernels."""
    for name, code in (("one", b"code of one"), ("two", b"of two")):
        content = elf({b".text": code, b".comment": b"a"}, undefined=(b"expf",))
        (tmp_path / f"module_0000.jit_f.obj-file.{name}.o").write_bytes(content)
    (tmp_path / "module_0000.jit_f.0001.a.after_algsimp.before_cse.txt").write_text("")
    return tmp_path


def found(folder: Path, text: str = TEXT, content: bytes = module(b"c"), more: Any = ()) -> str:
    return xla_form.fingerprint(text, content, str(folder), more).sha256


def test_the_document_tells_kinds_passes_and_the_size_of_the_code(folder: Path) -> None:
    told = xla_form.fingerprint(TEXT, module(b"c"), str(folder)).as_document()
    assert told["form"] == "hlo"
    assert told["operators"] == {"loop fusion (XLA)": 1}
    assert told["passes"] == ["algsimp"]
    assert told["code_bytes"] == len(b"code of one") + len(b"of two")


def test_names_and_places_in_sources_are_not_what_runs(folder: Path) -> None:
    usual = found(folder)
    renamed = TEXT.replace("mul.7", "mul.12").replace("main.3", "main.5").replace("x.1", "x.2")
    elsewhere = renamed.replace("/somewhere", "/tmp/else").replace("a.py", "b.py")
    assert found(folder, elsewhere.replace("jit_f", "jit_g")) == usual
    assert xla_form.same_program(TEXT, elsewhere)
    (folder / "module_0000.jit_f.obj-file.one.o").rename(folder / "zzz.obj-file.renamed.o")
    assert found(folder) == usual


def test_instructions_constants_code_and_weights_are_what_runs(folder: Path) -> None:
    usual = found(folder)
    others = [
        found(folder, TEXT.replace("multiply", "add")),
        found(folder, TEXT.replace("multiply(%p, %p)", "multiply(%p, %x.1)")),
        found(folder, content=module(b"d")),
        found(folder, content=module(b"c", b"c")),
        found(folder, more=[b"weights"]),
    ]
    path = folder / "module_0000.jit_f.obj-file.two.o"
    path.write_bytes(elf({b".text": b"of  2 "}, undefined=(b"expf",)))
    others.append(found(folder))
    path.write_bytes(elf({b".text": b"of two"}, undefined=(b"__expf_fast",)))
    others.append(found(folder))
    assert len({usual, *others}) == 8


def test_the_ptx_of_a_gpu_is_code_too(folder: Path) -> None:
    usual = found(folder)
    (folder / "module_0000.jit_f.ptx").write_text(".version 8.1")
    assert found(folder) != usual
    assert xla_form.code_in(str(folder)).size_bytes == 17 + len(".version 8.1")


def test_flags_that_may_say_how_a_program_is_run_are_part_of_it(folder: Path) -> None:
    seen = "--xla_cpu_enable_fast_math=true --xla_dump_to=/d --xla_disable_hlo_passes=fusion"
    assert xla_form.running(seen) == []
    how = xla_form.running(f"{seen} --xla_cpu_use_thunk_runtime=false --xla_cpu_max_isa=AVX2")
    assert how == ["xla_cpu_use_thunk_runtime=false"]
    told = xla_form.fingerprint(TEXT, module(b"c"), str(folder), (), how)
    assert told.sha256 != found(folder)


def test_what_is_no_protocol_buffer_is_an_error() -> None:
    with pytest.raises(ValueError, match="no protocol buffer"):
        xla_form.literals(b"\x0f\x00")


def test_without_code_nothing_is_proved(tmp_path: Path) -> None:
    (tmp_path / "module_0000.jit_f.after_optimizations.txt").write_text(TEXT)
    with pytest.raises(RunnerError, match="no machine code"):
        found(tmp_path)
