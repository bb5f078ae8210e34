"""What inductor needs and leaves: a compiler, a folder of its own, the code that it generated."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from runner import ir_files
from runner.errors import RunnerError
from runner.support import torch_passes

_VARIABLES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
# A person who debugs PyTorch sets these, and may start `python -m runner` by hand (a cell of a sweep
# is started without them); either would make it run eagerly and say nothing.
_OFF_SWITCHES = ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")

_GENERATED = (".py", ".cpp", ".h", ".ttir", ".ttgir", ".llir", ".ptx", ".cubin")
"""What inductor and Triton write that is code; a library may hold the weights as well."""


class Workshop:
    """A folder for what inductor writes: of this process alone, so that nothing passes on.

    Args:
        kept: a folder of this cell that outlives the process, where inductor finds what it compiled
            before; None: nothing passes on.
    """

    def __init__(self, kept: Optional[str] = None) -> None:
        self._own = kept is None
        self.folder = tempfile.mkdtemp(prefix="inductor-") if kept is None else kept
        self._before = {name: os.environ.get(name) for name in _VARIABLES}
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = self.folder
        os.environ["TRITON_CACHE_DIR"] = os.path.join(self.folder, "triton")

    def sources(self, ending: str) -> List[str]:
        """The text of every file in it whose name ends so."""
        names = [
            os.path.join(place, name)
            for place, _, listed in sorted(os.walk(self.folder))
            for name in sorted(listed)
        ]
        return _texts(name for name in names if name.endswith(ending))

    def imported(self) -> List[Any]:
        """The modules of Python that this process imported from it, by path."""
        within = os.path.realpath(self.folder) + os.sep
        found = {}
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            is_python = isinstance(path, str) and path.endswith(".py")
            if is_python and os.path.realpath(path).startswith(within):
                found[path] = module
        return [found[path] for path in sorted(found)]

    def wrappers(self) -> List[str]:
        """The text of what calls the kernels of a graph, one of each that this process imported.

        A folder that is kept may hold those of other versions of inductor as well.
        """
        texts = _texts(str(module.__file__) for module in self.imported())
        return [text for text in texts if "def call(" in text]

    def close(self) -> None:
        """Remove it, unless it is kept, and put the variables back."""
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _texts(paths: Iterable[str]) -> List[str]:
    found = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            found.append(file.read())
    return found


def keep_program(program: Any, folder: str) -> None:
    """Write an exported program, or a graph's module, as text: what inductor was given."""
    ir_files.write_text(folder, "program.txt", getattr(program, "graph", program))
    code = getattr(program, "code", None)
    if code is not None:
        ir_files.write_text(folder, "program.py", code)


def keep_generated(generated: str, folder: str) -> None:
    """Copy the code in inductor's folder: wrappers, kernels, and what Triton made of those."""
    ir_files.copy_sources(generated, os.path.join(folder, "inductor"), _GENERATED)


def require_compiler(backend: str, *, headers: bool) -> Dict[str, str]:
    """The C++ compiler that inductor will start, for `ran`.

    Args:
        backend: which backend needs it.
        headers: whether what it compiles is a module for Python, which needs Python's headers.

    Raises:
        RunnerError: kind `unsupported`, where there is none, or the headers are missing.
    """
    name, path = compiler()
    if path is None:
        raise RunnerError(
            "unsupported",
            f"{backend} generates C++ and needs the compiler {name}, which is not installed here: "
            "install g++ (Debian's package g++), or run this environment as a container image, which "
            "brings one",
        )
    if headers and not os.path.isfile(python_header()):
        raise RunnerError(
            "unsupported",
            f"{backend} compiles modules for Python and needs its headers, and there is no "
            f"{python_header()}: install them (Debian's package libpython3-dev), or run this "
            "environment as a container image, which brings them",
        )
    for switch in _OFF_SWITCHES:
        if os.environ.get(switch, "0") not in ("", "0"):
            raise RunnerError(
                "unsupported",
                f"{backend}: the variable {switch} is set, with which PyTorch compiles nothing and "
                "runs eagerly: unset it",
            )
    return {"compiler": compiler_version(path)}


def compiler() -> Tuple[str, Optional[str]]:
    """The compiler's name, and where it is; inductor's own rule."""
    name = os.environ.get("CXX") or "g++"
    return name, shutil.which(name)


def compiler_version(path: str) -> str:
    """The first line that a compiler says of its version."""
    try:
        done = subprocess.run(
            [path, "--version"], stdout=subprocess.PIPE, check=True, timeout=60, text=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunnerError(
            "unsupported", f"the compiler {path} does not start: {error}; install g++ again"
        ) from error
    return done.stdout.splitlines()[0].strip() if done.stdout else path


def python_header() -> str:
    """Where this Python's `Python.h` is, if it is installed."""
    return os.path.join(sysconfig.get_path("include"), "Python.h")


_SMALL = """
#include <omp.h>
{include}
extern "C" int four() {{
    int sum = 0;
    #pragma omp parallel for reduction(+:sum) num_threads(1)
    for (int i = 0; i < 4; ++i) sum += 1;
    return sum;
}}
"""


def try_compiler(backend: str, *, headers: bool) -> Optional[str]:
    """Compile, load and call a small library, as inductor does; None, or why that failed.

    Inductor itself takes long to compile anything, and a probe shall not.

    Raises:
        RunnerError: kind `unsupported`, as `require_compiler`.
    """
    require_compiler(backend, headers=headers)
    include = "#include <Python.h>" if headers else ""
    with tempfile.TemporaryDirectory(prefix="inductor-") as folder:
        source, library = os.path.join(folder, "small.cpp"), os.path.join(folder, "small.so")
        with open(source, "w", encoding="utf-8") as file:
            file.write(_SMALL.format(include=include))
        command = [compiler()[0], "-std=c++17", "-shared", "-fPIC", "-fopenmp"]
        command += ["-I" + os.path.dirname(python_header()), source, "-o", library]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True
        )
        if done.returncode != 0:
            return f"{command[0]} failed: {' '.join(done.stdout.split())[-400:]}"
        total = ctypes.CDLL(library).four()
    return None if total == 4 else f"the sum of four ones is {total}"


def configure(backend: str, settings: Mapping[str, Any]) -> Any:
    """Inductor's configuration, set for one cell: freezing, passes, flags, and no helper processes.

    A pool of compilers would outlive the compilation and wait beside what is timed. AOTInductor
    compiles one file in a process, for which headers compiled ahead are of no use.

    Raises:
        RunnerError: kind `unsupported`, as `torch_passes.apply`.
    """
    import torch._inductor.config as inductor

    inductor.compile_threads = 1
    inductor.freezing = bool(settings["freezing"])
    torch_passes.switch_off(inductor, "aot_inductor.precompile_headers")
    torch_passes.apply(backend, inductor, settings, _decided(settings))
    return inductor


def _decided(settings: Mapping[str, Any]) -> Dict[str, str]:
    """The flags that the cell's `mode` or `max_autotune` sets by itself while it compiles."""
    mode = str(settings.get("mode", "default"))
    if settings.get("max_autotune"):
        return {"max_autotune": "the setting max_autotune says it"}
    if mode in ("default", "off") or not settings.get("flags"):
        return {}
    from torch._inductor import list_mode_options

    return dict.fromkeys(list_mode_options(mode), f"the mode {mode} says it")


def vector_isa() -> str:
    """The vector instructions that inductor's C++ is compiled for; `none` where there are none.

    Inductor finds out by compiling: where the compiler fails it says `none` and goes on, slowly.
    """
    try:
        from torch._inductor.cpu_vec_isa import pick_vec_isa
    except ImportError:
        # Before PyTorch 2.5.
        from torch._inductor.codecache import pick_vec_isa
    isa = pick_vec_isa()
    return str(isa).strip() if isa else "none"
