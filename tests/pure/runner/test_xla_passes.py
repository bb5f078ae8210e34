"""XLA's passes and flags by name: what there is, what is refused, and what XLA is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.small_elf import elf

from runner.errors import RunnerError
from runner.support import xla_library, xla_passes

FLAGS = (
    *("xla_cpu_enable_fast_math", "xla_disable_hlo_passes", "xla_dump_to"),
    *("xla_gpu_kernel_cache_file", "xla_ours"),
)


def field(name: str) -> bytes:
    """A field's name as a serialised description has it."""
    return b"\x0a" + bytes([len(name)]) + name.encode()


@pytest.fixture
def xla(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A jaxlib whose XLA has three passes and five flags; what its files say besides is no flag."""
    folder = tmp_path / "jaxlib"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    passes = b"\0algsimp\0fusion\0copy-insertion\0not-dce\0"
    text = passes + b"\0".join(one.encode() for one in (*FLAGS, "xla_loop")) + b"\0"
    fields = b"".join(field(one) for one in (*FLAGS, "xla_retired"))
    (folder / "libjax_common.so").write_bytes(
        elf({b".rodata": text, b"protodesc_cold": fields + b"\x0a\x02xla_cut"})
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    xla_library.holds.cache_clear()
    xla_library.flags.cache_clear()
    yield folder
    xla_library.holds.cache_clear()
    xla_library.flags.cache_clear()


def test_the_passes_are_the_optional_ones_that_this_xla_has(xla: Path) -> None:
    assert xla_passes.passes("jaxlib") == ("algsimp", "fusion")
    assert xla_passes.offered("jaxlib") == {
        "disabled_passes": ("algsimp", "fusion"),
        "passes": ("algsimp", "fusion"),
    }


def test_a_package_that_is_not_installed_has_none(xla: Path) -> None:
    assert xla_passes.passes("tensorflow") == ()
    assert xla_passes.passes("jax_plugins.xla_cuda13", gpu=True) == ()
    assert xla_library.flags("tensorflow") == ()


def test_passes_that_lower_or_place_are_not_optional() -> None:
    needed = {"layout-assignment", "copy-insertion", "dot_decomposer", "gather_expander"}
    assert not needed & {*xla_passes.OPTIONAL, *xla_passes.OPTIONAL_ON_GPU}


@pytest.mark.parametrize(
    ("settings", "disabled"),
    [
        ({}, ()),
        ({"disabled_passes": None, "passes": None}, ()),
        ({"disabled_passes": ("fusion", "algsimp")}, ("algsimp", "fusion")),
        ({"disabled_passes": ()}, ()),
        ({"passes": ("algsimp",)}, ("cse", "fusion")),
        ({"passes": ()}, ("algsimp", "cse", "fusion")),
    ],
)
def test_only_these_is_all_others_disabled(settings: dict[str, Any], disabled: Any) -> None:
    there = ("algsimp", "cse", "fusion")
    assert xla_passes.to_disable("jax", settings, there) == disabled


def test_both_ways_to_say_which_passes_run_are_refused() -> None:
    with pytest.raises(RunnerError, match="give one of them") as caught:
        xla_passes.to_disable("jax", {"disabled_passes": (), "passes": ()}, ())
    assert caught.value.kind == "unsupported"


def test_flags_are_known_by_the_librarys_text_and_options_together(xla: Path) -> None:
    assert xla_library.flags("jaxlib") == tuple(sorted(FLAGS))
    given = {"--xla_cpu_enable_fast_math": True}
    assert xla_passes.checked_flags("jax", "jaxlib", given) == {"xla_cpu_enable_fast_math": True}
    assert xla_passes.checked_flags("jax", "jaxlib", None) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("xla_cpu_enable_fastmath", "did you mean xla_cpu_enable_fast_math"),
        ("xla_retired", "xla_flags has no 'xla_retired'"),
        ("xla_loop", "xla_flags has no 'xla_loop'"),
        ("xla_disable_hlo_passes", "a sweep says it by disabled_passes"),
        ("xla_dump_to", "a sweep says it by --keep-ir"),
        ("xla_ours", "a sweep says it by ours"),
        ("xla_gpu_kernel_cache_file", "it names files"),
    ],
)
def test_a_flag_that_is_unknown_or_said_elsewhere_is_refused(
    xla: Path, name: str, said: str
) -> None:
    with pytest.raises(RunnerError, match=said) as caught:
        xla_passes.checked_flags("jax", "jaxlib", {name: 1}, besides={"xla_ours": "ours"})
    assert caught.value.kind == "unsupported"


def test_a_flag_given_with_dashes_and_without_is_refused(xla: Path) -> None:
    given = {"xla_cpu_enable_fast_math": True, "--xla_cpu_enable_fast_math": False}
    with pytest.raises(RunnerError, match="xla_flags gives 'xla_cpu_enable_fast_math' twice"):
        xla_passes.checked_flags("jax", "jaxlib", given)


def test_the_text_of_the_flags_replaces_what_was_said_before() -> None:
    before = "--xla_a=1 --xla_disable_hlo_passes=cse --xla_b"
    told = xla_passes.as_flags(before, ("algsimp", "fusion"), {"xla_b": False, "xla_c": 2})
    assert told == "--xla_a=1 --xla_b=false --xla_c=2 --xla_disable_hlo_passes=algsimp,fusion"
    assert xla_passes.as_flags(before, (), {}) == before


def test_a_value_that_xla_would_take_for_two_flags_is_refused() -> None:
    with pytest.raises(RunnerError, match="divides its flags at spaces"):
        xla_passes.as_flags("", (), {"xla_c": "a --xla_dump_to=/tmp"})


def test_the_passes_that_changed_something_are_read_from_the_names_of_dumps() -> None:
    names = (
        "module_0000.jit_f.x.0003.simplification.after_cse.before_dce.txt",
        "module_0000.jit_f.x.0001.simplification.after_pipeline-start.before_algsimp.txt",
        "module_0000.jit_f.x.0002.simplification.after_algsimp.before_sort.txt",
        "module_0000.jit_f.x.0004.other.after_algsimp.before_pipeline-end.txt",
        "module_0000.jit_f.x.cpu_after_optimizations.txt",
        "module_0000.jit_f.x.before_optimizations.txt",
    )
    assert xla_passes.that_changed(names) == ["algsimp", "cse"]
