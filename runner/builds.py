"""What libraries say of how they were built: the parts inside them that a version does not name."""

from __future__ import annotations

import importlib
import platform
import sys
from typing import Any, Callable, Dict, List, Tuple

from runner.backends.base import installed_version

Build = Dict[str, str]


def python() -> Build:
    """The interpreter."""
    return {
        "implementation": platform.python_implementation(),
        "compiler": platform.python_compiler(),
    }


def numpy() -> Build:
    """NumPy's linear algebra, compiler and the processor features that it takes for granted."""
    import numpy as np

    config = _numpy_config(np)
    if not config:
        module = np.__config__
        old = getattr(module, "blas_opt_info", None) or getattr(module, "blas_ilp64_opt_info", {})
        return {"blas": ",".join(old.get("libraries", ()))} if old else {}
    found = {}
    for part in ("blas", "lapack"):
        said = config.get("Build Dependencies", {}).get(part, {})
        # NumPy 1.26 names a LAPACK that is part of the BLAS by a number of its build system.
        if not str(said.get("name", "")).startswith("dep"):
            found[part] = f"{said.get('name', '')} {said.get('version', '')}".strip()
    compiler = config.get("Compilers", {}).get("c", {})
    found["compiler"] = f"{compiler.get('name', '')} {compiler.get('version', '')}".strip()
    found["simd_baseline"] = " ".join(config.get("SIMD Extensions", {}).get("baseline", ()))
    return {key: value for key, value in found.items() if value}


def numpy_uses() -> List[str]:
    """The processor features beyond its baseline that NumPy found here and uses."""
    import numpy as np

    config = _numpy_config(np)
    if config:
        return [str(name) for name in config.get("SIMD Extensions", {}).get("found", ())]
    try:
        core = importlib.import_module("numpy.core._multiarray_umath")
        features = core.__cpu_features__
        return [name for name in core.__cpu_dispatch__ if features.get(name)]
    except (ImportError, AttributeError):
        return []


def _numpy_config(np: Any) -> Dict[str, Any]:
    """NumPy's own account; empty before NumPy 1.25, which only prints it."""
    try:
        config: Dict[str, Any] = np.show_config(mode="dicts")
    except TypeError:
        return {}
    return config or {}


def _tensorflow() -> Build:
    from tensorflow.python.platform import build_info

    said = build_info.build_info
    names = ("cuda_version", "cudnn_version", "cpu_compiler", "is_cuda_build", "is_rocm_build")
    return {name: str(said[name]) for name in names if name in said}


def _tvm() -> Build:
    tvm = importlib.import_module("tvm")
    said = tvm.support.libinfo()
    names = ("LLVM_VERSION", "CUDA_VERSION", "USE_LLVM", "USE_CUDA", "USE_CUDNN", "USE_MKL")
    found = {name.lower(): str(said[name]) for name in names if name in said}
    # Newer versions leave the number out of their account and have a function for it.
    major = tvm.get_global_func("target.llvm_version_major", allow_missing=True)
    return dict(found, llvm=str(major())) if major is not None else found


def _jax() -> Build:
    version = importlib.import_module("jaxlib.version")
    return {"jaxlib": str(version.__version__)}


def _llvmlite() -> Build:
    binding = importlib.import_module("llvmlite.binding")
    return {"llvm": ".".join(map(str, binding.llvm_version_info))}


# Libraries without a backend here, or with parts that their backend does not name:
# (distributions, any of which brings it; module; how it is asked).
_OTHERS: Dict[str, Tuple[Tuple[str, ...], str, Callable[[], Build]]] = {
    "tensorflow": (("tensorflow", "tensorflow-cpu"), "tensorflow", _tensorflow),
    "tvm": (("apache-tvm", "tvm"), "tvm", _tvm),
    "jax": (("jaxlib",), "jaxlib", _jax),
    "llvmlite": (("llvmlite",), "llvmlite", _llvmlite),
}


def others(*, everything: bool) -> Dict[str, Build]:
    """Builds of libraries beyond those of the backends.

    Importing one can take seconds, so without `everything` only those are asked that a backend
    has imported already. One that does not import says why.
    """
    found = {}
    for name, (distributions, module, ask) in _OTHERS.items():
        if not any(installed_version(one) for one in distributions):
            continue
        if module not in sys.modules and not everything:
            continue
        try:
            found[name] = ask()
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    return found
