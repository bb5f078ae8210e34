"""PyTorch's backends in the shipped environment, each as a process of its own, on a tiny program."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.installed import cannot_install

from harness.environments.provision import provision
from harness.environments.registry import resolve
from harness.errors import HarnessError
from harness.progress import SilentProgress

COUNT = 10
INPUTS = {"kind": "pixels", "count": COUNT, "layout": "NCHW", "raw_quantised": False}
SCALE = {"channels": "rgb", "divide": 255, "subtract": 0, "divide_after": 1}
NEEDS_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")
PROGRAM = """
import sys, numpy as np, torch
torch.manual_seed(3)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, groups=8),
    torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5),
).eval()
for batch, name in ((1, "one.pt2"), (4, "four.pt2")):
    with torch.no_grad():
        program = torch.export.export(model, (torch.rand(batch, 3, 8, 8),))
    torch.export.save(program, name)
with torch.no_grad():
    kept = model[-1].bias.clone()
    model[-1].bias += 0.5
    torch.export.save(torch.export.export(model, (torch.rand(1, 3, 8, 8),)), "shifted.pt2")
    model[-1].bias.copy_(kept)
flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5)).eval()
with torch.no_grad():
    torch.export.save(torch.export.export(flat, (torch.rand(1, 3, 8, 8),)), "flat.pt2")
class Outputs(torch.nn.Module):
    def __init__(self, shaped):
        super().__init__()
        self.flat, self.shaped = flat, shaped
    def forward(self, x):
        once = self.flat(x)
        return self.shaped(once, once * 2, once + 1)
class Half(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(192, 5).half()
    def forward(self, x):
        return self.linear(x.flatten(1).half()).float()
def nested(a, b, c):
    return {"z": a, "m": (b, [c])}
for made, name in ((Outputs(nested), "nested.pt2"), (Half(), "half.pt2")):
    with torch.no_grad():
        torch.export.save(torch.export.export(made.eval(), (torch.rand(1, 3, 8, 8),)), name)
pixels = np.load(sys.argv[1]).astype(np.float32) / np.float32(255)
with torch.inference_mode():
    np.save("expected.npy", model(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).numpy())
"""

Infer = Callable[..., Any]


@cache
def interpreter() -> str:
    """The environment's Python, installed if it is not yet; skips where it can't be."""
    try:
        return str(provision(resolve("torch-2.13"), SilentProgress()).python)
    except HarnessError as error:
        cannot_install("torch-2.13", error)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with programs of batch 1 and 4, their pixels, and what they give."""
    folder = tmp_path_factory.mktemp("programs")
    generator = np.random.Generator(np.random.PCG64(7))
    pixels = generator.integers(0, 256, size=(COUNT, 8, 8, 3), dtype=np.uint8)
    np.save(folder / "pixels.npy", pixels)
    command = [interpreter(), "-c", PROGRAM, "pixels.npy"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def infer(
    start: Any, programs: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Infer]:
    """Start a worker on a program: `infer(backend, settings, program="one", **job)`."""
    (short / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(short / "tmp"))
    # Else inductor compiles ten small programs in each cell to see what the compiler can do.
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")

    def begin(
        backend: str, settings: dict[str, Any] | None = None, program: str = "one", **job: Any
    ) -> Any:
        return start(
            python=interpreter(),
            backend=backend,
            settings=settings or {},
            model={"path": str(programs / f"{program}.pt2"), "format": "pt2"},
            inputs=dict(INPUTS, path=str(programs / "pixels.npy"), normalise=SCALE),
            **job,
        )

    yield begin
    left = list((short / "tmp").glob("inductor-*"))
    assert left == [], "what a cell generated is gone with it"


def ran_and_answered(worker: Any, programs: Path) -> dict[str, Any]:
    """What ran, once the answers are found to be right and another run gives the same."""
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log()[-3000:])
    assert worker.command("answers")["ok"]
    first = worker.output().copy()
    assert worker.command("answers")["ok"]
    np.testing.assert_array_equal(worker.output(), first)
    assert min(worker.command("round", iterations=3, warmup=1)["durations_ns"]) > 0
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    assert first.dtype == np.float32
    np.testing.assert_allclose(first, np.load(programs / "expected.npy"), atol=1e-5)
    ran: dict[str, Any] = event["ran"]
    assert (ran["version"], ran["precision"], ran["device"]) == ("2.13.0+cpu", "f32", "cpu")
    return ran


def total(operators: dict[str, int], *words: str) -> int:
    return sum(count for name, count in operators.items() if all(word in name for word in words))


@pytest.mark.parametrize("threads", [1, 2])
def test_eager_tells_the_kernels_and_takes_the_threads(
    infer: Infer, programs: Path, threads: int
) -> None:
    ran = ran_and_answered(infer("torch.eager", threads=threads), programs)
    assert ran["threads"] == threads
    assert total(ran["operators"], "conv2d") == 2
    assert total(ran["operators"], "linear") == 1
    assert total(ran["operators"], "oneDNN") >= 1


def test_eager_without_onednn_uses_none_of_it(infer: Infer, programs: Path) -> None:
    ran = ran_and_answered(infer("torch.eager", {"onednn": False}), programs)
    assert total(ran["operators"], "conv2d") == 2
    assert total(ran["operators"], "oneDNN") == 0


def test_eager_in_channels_last_gives_the_answers_in_the_same_order(
    infer: Infer, programs: Path
) -> None:
    worker = infer("torch.eager", {"memory_format": "channels_last"}, program="four", batch=4)
    assert ran_and_answered(worker, programs)["settings"]["memory_format"] == "channels_last"


def test_channels_last_is_refused_for_a_program_without_images(infer: Infer) -> None:
    worker = infer("torch.eager", {"memory_format": "channels_last"}, program="flat")
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "no weight of four dimensions" in worker.error()["message"]


@pytest.mark.parametrize(
    "backend",
    [
        "torch.eager",
        "torch.jit",
        pytest.param("torch.compile", marks=NEEDS_COMPILER),
        pytest.param("torch.export", marks=NEEDS_COMPILER),
    ],
)
def test_outputs_in_a_dictionary_and_nested_come_in_the_order_of_the_program(
    infer: Infer, backend: str
) -> None:
    worker = infer(backend, program="nested")
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log()[-3000:])
    assert worker.command("answers")["ok"]
    once, twice, more = (worker.output(index) for index in range(3))
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    np.testing.assert_allclose(twice, once * 2, rtol=1e-6)
    np.testing.assert_allclose(more, once + 1, rtol=1e-6)
    assert once.shape == (COUNT, 5)
    runs = {"torch.jit": 3, "torch.compile": 1}
    assert event["ran"]["runs_in_compile"] == runs.get(backend, 0)


@pytest.mark.parametrize("backend", ["torch.eager", "torch.jit", "torch.compile", "torch.export"])
def test_a_program_in_half_precision_is_not_f32(infer: Infer, backend: str) -> None:
    worker = infer(backend, program="half")
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "linear.weight in float16" in worker.error()["message"]


def test_a_program_in_half_precision_says_so_under_the_librarys_own(infer: Infer) -> None:
    event = infer("torch.eager", program="half", precision="default").event()
    assert event["ran"]["computes_in"] == ["float16", "float32"]
    assert event["ran"]["weights_in"] == ["float16"]


@pytest.mark.parametrize("freeze", [True, False])
def test_torchscript_says_whether_it_is_frozen(infer: Infer, programs: Path, freeze: bool) -> None:
    ran = ran_and_answered(
        infer("torch.jit", {"freeze": freeze}, program="four", batch=4), programs
    )
    assert ran["frozen"] is freeze
    assert total(ran["operators"], "conv") == 2


def test_torchscript_for_inference_runs_onednns_convolutions(infer: Infer, programs: Path) -> None:
    ran = ran_and_answered(infer("torch.jit", {"optimize_for_inference": True}), programs)
    assert total(ran["operators"], "mkldnn_convolution", "oneDNN") == 2


@NEEDS_COMPILER
@pytest.mark.parametrize(
    ("backend", "freezing"), [("torch.compile", True), ("torch.export", False)]
)
def test_inductor_compiles_the_whole_program_and_says_by_what(
    infer: Infer, programs: Path, backend: str, freezing: bool
) -> None:
    ran = ran_and_answered(infer(backend, {"freezing": freezing}), programs)
    assert ran["frozen"] is freezing
    assert total(ran["operators"], "inductor C++") >= 1
    library = "oneDNN" if freezing else "ATen"
    assert total(ran["operators"], "convolution", library) == 2
    assert ran["compiler"]
    assert ran["vector_isa"]


@pytest.mark.parametrize("backend", ["torch.compile", "torch.export"])
def test_without_a_compiler_a_cell_is_refused_and_gpp_is_named(
    infer: Infer, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    worker = infer(backend)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "install g++" in worker.error()["message"]


@pytest.mark.parametrize("backend", ["torch.jit", "torch.compile", "torch.export"])
def test_a_build_for_the_cpu_refuses_the_gpu(infer: Infer, backend: str) -> None:
    worker = infer(backend, device="cuda")
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "this PyTorch is built for the CPU" in worker.error()["message"]


def compiled(worker: Any) -> dict[str, Any]:
    """The fingerprint, once the worker has ended well."""
    event = worker.event()
    assert event is not None, (worker.wait(), worker.error(), worker.log()[-3000:])
    assert worker.command("finish") == {"ok": True}
    assert worker.wait() == 0
    found: dict[str, Any] = event["compiled"]
    assert "absent" not in found, found
    return found


Form = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, Any]]:
    """Compiled forms that one process made: inductor takes many seconds for each."""
    return {}


@pytest.fixture
def form_of(infer: Infer, seen: dict[str, dict[str, Any]]) -> Form:
    """The compiled form: `form_of(backend, settings)`."""

    def made(backend: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        asked = repr((backend, sorted((settings or {}).items())))
        if asked not in seen:
            seen[asked] = compiled(infer(backend, settings, fingerprint=True))
        return seen[asked]

    return made


@pytest.mark.parametrize(
    ("backend", "settings", "form"),
    [
        ("torch.eager", {}, "fx"),
        ("torch.jit", {}, "torchscript"),
        ("torch.jit", {"optimize_for_inference": True}, "torchscript"),
        pytest.param("torch.compile", {"freezing": True}, "fx", marks=NEEDS_COMPILER),
        pytest.param("torch.export", {"freezing": True}, "fx", marks=NEEDS_COMPILER),
    ],
)
def test_two_processes_make_one_compiled_form_wherever_they_work(
    infer: Infer, form_of: Form, short: Path, backend: str, settings: dict[str, Any], form: str
) -> None:
    longer = short / "a_folder_with_quite_another_name"
    longer.mkdir()
    first = form_of(backend, settings)
    second = compiled(infer(backend, settings, fingerprint=True, cache=str(longer)))
    assert first == second
    assert first["form"] == form
    assert total(first["operators"], "conv") == 2
    assert len(first["sha256"]) == 64


@pytest.mark.parametrize(
    ("backend", "other"),
    [
        ("torch.eager", {"onednn": False}),
        ("torch.jit", {"freeze": False}),
        ("torch.jit", {"optimized_execution": False}),
        pytest.param("torch.compile", {"disabled_passes": ["vectorisation"]}, marks=NEEDS_COMPILER),
        # Seen in the machine code alone, which is loaded from an archive.
        pytest.param(
            "torch.export",
            {"freezing": True, "flags": {"cpp.enable_unsafe_math_opt_flag": True}},
            marks=NEEDS_COMPILER,
        ),
    ],
)
def test_a_setting_that_does_something_makes_another_compiled_form(
    form_of: Form, backend: str, other: dict[str, Any]
) -> None:
    usual = {"freezing": True} if "freezing" in other else {}
    assert form_of(backend, usual)["sha256"] != form_of(backend, other)["sha256"]


@pytest.mark.parametrize("backend", ["torch.eager", "torch.jit"])
def test_another_constant_is_another_compiled_form_of_the_same_operators(
    infer: Infer, form_of: Form, backend: str
) -> None:
    usual = form_of(backend)
    other = compiled(infer(backend, program="shifted", fingerprint=True))
    assert other["operators"] == usual["operators"]
    assert other["sha256"] != usual["sha256"]


@NEEDS_COMPILER
def test_a_pass_that_finds_nothing_to_do_leaves_the_compiled_form_as_it_is(form_of: Form) -> None:
    without = {"disabled_passes": ["split_cat_fx_passes", "cpp.weight_prepack"]}
    assert form_of("torch.compile", without) == form_of("torch.compile")


def test_passes_over_frozen_graphs_can_be_left_out_by_name(infer: Infer, programs: Path) -> None:
    settings = {"optimize_for_inference": True, "disabled_passes": ["convert_to_mkldnn"]}
    ran = ran_and_answered(infer("torch.jit", settings), programs)
    assert total(ran["operators"], "mkldnn_convolution") == 0


def test_an_unknown_pass_is_refused_and_near_names_are_given(infer: Infer) -> None:
    worker = infer("torch.compile", {"disabled_passes": ["epilog_fusion"]})
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert "did you mean epilogue_fusion" in worker.error()["message"]


@NEEDS_COMPILER
def test_a_cells_cache_is_cold_and_then_warm_and_the_code_the_same(
    infer: Infer, form_of: Form, short: Path
) -> None:
    cache = short / "cache"
    cache.mkdir()
    found = []
    for _ in range(2):
        worker = infer("torch.compile", fingerprint=True, cache=str(cache))
        event = worker.event()
        assert event is not None, (worker.wait(), worker.error(), worker.log()[-3000:])
        assert worker.command("finish") == {"ok": True}
        assert worker.wait() == 0
        found.append(event)
    assert [event["compile_cache"] for event in found] == ["cold", "warm"]
    assert found[0]["compiled"] == found[1]["compiled"] == form_of("torch.compile")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"flags": {"epilogue_fusio": False}}, "did you mean epilogue_fusion"),
        ({"flags": {"triton.cudagraphs": True}}, "give the setting mode"),
        ({"flags": {"max_fusion_size": True}}, "int, such as"),
        ({"flags": {"trace.enabled": True}}, "the harness says where files are written"),
        (
            {"mode": "max-autotune", "flags": {"max_autotune": False}},
            "the mode max-autotune says it",
        ),
        (
            {"disabled_passes": ["pattern_matcher"], "flags": {"pattern_matcher": True}},
            "the pass pattern_matcher is left out by it",
        ),
        ({"mode": "off", "passes": []}, "nothing is compiled with the mode off"),
    ],
)
def test_flags_that_inductor_would_not_follow_are_refused(
    infer: Infer, settings: dict[str, Any], words: str
) -> None:
    worker = infer("torch.compile", settings)
    assert worker.wait() == 1
    assert worker.error()["kind"] == "unsupported"
    assert words in worker.error()["message"]


@NEEDS_COMPILER
def test_the_mode_off_runs_the_program_eagerly(infer: Infer, programs: Path) -> None:
    ran = ran_and_answered(infer("torch.compile", {"mode": "off"}), programs)
    assert total(ran["operators"], "inductor") == 0
    assert total(ran["operators"], "conv2d") == 2
