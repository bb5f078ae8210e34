"""What shows that a model kept below a ceiling of instruction sets, by whose word; see `told`.

A library that says what it runs is asked. Besides, the kernel notes whether a thread's AVX-512
registers were in use when it last left its core (Linux 5.2, `/proc/<pid>/arch_status`), and the C
library which of its functions it may choose (glibc 2.33). What is shown to break the ceiling is an
error; what nobody tells is called unproved.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import tempfile
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from runner.backends.base import LoadRequest
from runner.errors import RunnerError
from runner.instruction_sets import LADDER, OWN, is_above, variables

Words = Dict[str, str]

_ISA = re.compile(r",cpu,isa:(.+)$")
_EXECUTED = re.compile(r",exec,cpu,[^,]+,([^,]+),")

_WATCH_NS = 300_000_000
_MIN_RUNS = 3
_NAP_S = 0.0005
_TICK_MS = 20
"""The kernel's clock for this counts ticks, of 10 ms at most."""

_TASKS = "/proc/self/task"
_STATE = "AVX512_elapsed_ms"

# Leaf and register of CPUID, and the bit, as glibc's <sys/platform/x86.h> has them: what lies above
# the step before and its functions choose by.
_EAX, _EBX, _ECX = 0, 1, 2
_BITS: Dict[str, Tuple[Tuple[str, int, int, int], ...]] = {
    "avx": (("AVX", 0, _ECX, 28),),
    "avx2": (("FMA", 0, _ECX, 12), ("AVX2", 1, _EBX, 5)),
    "avx512": (("AVX512F", 1, _EBX, 16), ("AVX512VL", 1, _EBX, 31)),
}
_ACTIVE = 4
"""Of eight words for a leaf the first four are the processor's, the others what may be used."""


def told(
    backend: str,
    request: LoadRequest,
    run: Callable[[], Any],
    proved: Optional[Mapping[str, str]] = None,
    unproved: Optional[Mapping[str, str]] = None,
) -> Dict[str, Any]:
    """The entry `instruction_set` of `ran`; nothing for a cell without a ceiling.

    Args:
        backend: who asks, for messages.
        request: what was asked for.
        run: runs the model once, in the way that is timed.
        proved: by library, what it says of itself that keeps the ceiling.
        unproved: by library, why it does not tell.

    Raises:
        RunnerError: kind `unsupported`, where AVX-512 was in use below a ceiling without it.
    """
    ceiling = request.instruction_set
    if ceiling == OWN:
        return {}
    shown, dark = dict(proved or {}), dict(unproved or {})
    _add("c_library", _c_library(ceiling), shown, dark)
    if is_above("avx512", ceiling):
        _add("kernel", _kernel(backend, ceiling, run), shown, dark)
    return {
        "instruction_set": {
            "ceiling": ceiling,
            "variables": {name: os.environ.get(name, "") for name in variables(ceiling)},
            "proved": shown,
            "unproved": dark,
        }
    }


def require(backend: str, ceiling: str, library: str, said: str, step: Optional[str]) -> None:
    """Refuse a library that says it runs what lies above the ceiling.

    Args:
        backend: who asks, for messages.
        ceiling: what was asked for.
        library: whose word it is.
        said: that word.
        step: what it means on the ladder; None: less than all of it.

    Raises:
        RunnerError: kind `unsupported`.
    """
    if step is not None and is_above(step, ceiling):
        raise broken(backend, ceiling, f"{library} says that it uses {said}")


def broken(backend: str, ceiling: str, why: str) -> RunnerError:
    """That a backend does not keep a ceiling, and what shows it."""
    return RunnerError(
        "unsupported",
        f"{backend} was asked to keep to the instruction set {ceiling} and does not: {why}; ask "
        f"for {OWN}, or for one that holds what it uses",
    )


def step_of(words: str) -> Optional[str]:
    """The highest step that a library's words name, such as `Intel AVX-512 with Intel DL Boost`.

    VNNI is called "DL Boost" too. Where it comes with AVX2 alone it counts as `avx512_vnni`, which is
    the step that holds it. None: they name none.
    """
    text = words.lower().replace("-", "").replace("_", "").replace(" ", "")
    if "amx" in text:
        return "amx"
    if "avx10" in text or ("avx512" in text and ("bfloat16" in text or "bf16" in text)):
        return "avx512_bf16"
    if "vnni" in text or "dlboost" in text:
        return "avx512_vnni"
    for name in ("avx512", "avx2", "avx"):
        if name in text:
            return name
    return "sse4.1" if "sse" in text else None


def read_onednn(lines: Sequence[str]) -> Tuple[Optional[str], List[str]]:
    """Of what oneDNN prints when it is verbose: what it takes the processor for, and its kernels.

    The first is None where it does not say; of the kernels each is there once.
    """
    isa = next((found.group(1) for found in map(_ISA.search, lines) if found), None)
    kernels = (found.group(1) for found in map(_EXECUTED.search, lines) if found)
    return isa, list(dict.fromkeys(kernels))


@contextlib.contextmanager
def printed() -> Iterator[List[str]]:
    """The lines that native code prints on standard output meanwhile; they are there afterwards."""
    lines: List[str] = []
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    kept = os.dup(1)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 1)
            try:
                yield lines
            finally:
                libc.fflush(None)
                os.dup2(kept, 1)
            file.seek(0)
            lines.extend(file.read().decode("utf-8", "replace").splitlines())
    finally:
        os.close(kept)


def _add(who: str, found: Tuple[bool, str], proved: Words, unproved: Words) -> None:
    kept, words = found
    (proved if kept else unproved)[who] = words


def _c_library(ceiling: str) -> Tuple[bool, str]:
    """Whether the C library's own choice of functions keeps the ceiling."""
    steps = [step for step in LADDER[LADDER.index(ceiling) + 1 :] if step in _BITS]
    if not steps:
        return True, "it has no functions above it"
    ask = getattr(ctypes.CDLL(None), "__x86_get_cpuid_feature_leaf", None)
    if ask is None:
        return False, "it does not say which of its functions it chooses (glibc does from 2.33 on)"
    ask.restype = ctypes.POINTER(ctypes.c_uint32 * 8)
    ask.argtypes = [ctypes.c_uint]
    bits = [bit for step in steps for bit in _BITS[step]]
    active = [
        name for name, leaf, word, bit in bits if ask(leaf).contents[_ACTIVE + word] >> bit & 1
    ]
    if active:
        return False, f"it may still choose functions with {', '.join(active)}"
    return True, f"it chooses no functions with {', '.join(name for name, *_ in bits)}"


def _kernel(backend: str, ceiling: str, run: Callable[[], Any]) -> Tuple[bool, str]:
    """Whether the kernel saw AVX-512 in use in this process, while the model ran again and again."""
    if _states() is None:
        return False, "it does not tell whether AVX-512 is in use (/proc/self/arch_status)"
    runs, milliseconds = _watched(run)
    states = _states() or {}
    # Older use than that is somebody else's: the interpreter's before it began once more.
    seen = [thread for thread, state in states.items() if 0 <= state < milliseconds - _TICK_MS]
    if seen:
        raise broken(
            backend,
            ceiling,
            f"AVX-512 registers were in use in {len(seen)} of the process's {len(states)} threads",
        )
    return True, f"no AVX-512 register was in use in {len(states)} threads over {runs} runs"


def _watched(run: Callable[[], Any]) -> Tuple[int, int]:
    """Run for a while, and be interrupted often: the kernel looks when a thread leaves its core.

    How often it ran, and for how many milliseconds.
    """
    started = time.perf_counter_ns()
    ends = started + _WATCH_NS
    done = threading.Event()

    def interrupt() -> None:
        while not done.is_set():
            time.sleep(_NAP_S)

    other = threading.Thread(target=interrupt, daemon=True)
    other.start()
    runs = 0
    try:
        while runs < _MIN_RUNS or time.perf_counter_ns() < ends:
            run()
            runs += 1
    finally:
        done.set()
        other.join()
    return runs, (time.perf_counter_ns() - started) // 1_000_000


def _states(tasks: str = _TASKS) -> Optional[Dict[str, int]]:
    """For each thread, milliseconds since its AVX-512 registers were last seen in use; -1: never.

    None where the kernel does not tell of the first thread; a processor without AVX-512 has nothing
    to tell.
    """
    found: Dict[str, int] = {}
    for thread in sorted(os.listdir(tasks), key=int):
        try:
            with open(os.path.join(tasks, thread, "arch_status"), encoding="ascii") as file:
                text = file.read()
        except OSError:
            if not found:
                return None
            continue
        name, _, value = text.partition(":")
        found[thread] = int(value) if name.strip() == _STATE else -1
    return found
