"""Whether PyTorch works in an environment, by which means, and what is inside its build."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Mapping, Optional

import torch

from runner.backends.base import BackendProbe, Offer, start_each
from runner.support.torch_setup import GPU, warnings_are_no_errors

Start = Callable[[], Optional[str]]
Prepare = Callable[[Callable[..., Any], Any], Callable[..., Any]]


def probed(offer: Offer, starts: Mapping[str, Start], needed: str) -> BackendProbe:
    """Start each means by its name.

    Args:
        offer: what the backend can be asked for.
        starts: means by name, each giving None, or why it did not start.
        needed: the one without which PyTorch is broken; empty where each of them needs something
            that is no part of PyTorch, such as a compiler: then `refused` says what is missing.
    """
    listed = tuple(starts)
    started, refused = start_each(listed, lambda name: starts[name]())
    ok = not needed or needed in started
    capability = getattr(torch.backends.cpu, "get_cpu_capability", None)
    return BackendProbe(
        ok=ok,
        version=torch.__version__,
        detail="" if ok else refused[needed],
        formats=offer.formats,
        offer=offer,
        providers=listed,
        started=started,
        refused=refused,
        builds={"torch": parse_build(torch.__config__.show(), _cuda_build())},
        cpu_used={"torch": (str(capability()),)} if capability else {},
    )


def kernels(prepare: Prepare) -> Dict[str, Start]:
    """oneDNN, PyTorch's own kernels, and CUDA, as far as the build has them.

    Args:
        prepare: makes of a function and an example what is called.
    """
    listed = ["native"]
    if torch.backends.mkldnn.is_available():
        listed.insert(0, "onednn")
    if torch.version.cuda is not None:
        listed.append("cuda")
    return {name: _starter(name, prepare) for name in listed}


def inductor(try_compiler: Start, try_gpu: Start) -> Dict[str, Start]:
    """Inductor's languages: C++ for the CPU, and Triton where the build has CUDA.

    Args:
        try_compiler: makes something small by the compiler.
        try_gpu: makes something small by inductor on the GPU.
    """

    def on_gpu() -> Optional[str]:
        if not torch.cuda.is_available():
            return "PyTorch finds no GPU that it can use"
        with warnings_are_no_errors():
            return try_gpu()

    found = {"c++": try_compiler}
    if torch.version.cuda is not None:
        found["triton"] = on_gpu
    return found


def as_it_is(function: Callable[..., Any], example: Any) -> Callable[..., Any]:  # noqa: ARG001
    """The function, which nothing is done to."""
    return function


def parse_build(said: str, more: Dict[str, str]) -> Dict[str, str]:
    """The parts that `torch.__config__.show()` names, without what it says of this machine."""
    patterns = {
        "compiler": r"^\s*- ((?:GCC|clang|MSVC) [\w.]+)",
        "mkl": r"Math Kernel Library Version (\d[\d.]*)",
        "onednn": r"(?:MKL-DNN|oneDNN) v(\S+)",
        "openmp": r"OpenMP (\d+)",
        "blas": r"BLAS_INFO=(\w+)",
    }
    found = {}
    for name, pattern in patterns.items():
        match = re.search(pattern, said, re.MULTILINE)
        if match:
            found[name] = match.group(1)
    return dict(found, **more)


def _cuda_build() -> Dict[str, str]:
    """The commit, and the CUDA and cuDNN (or ROCm) inside this build."""
    found = {"git": str(getattr(torch.version, "git_version", "") or "")}
    found["cuda"] = str(torch.version.cuda or "")
    found["hip"] = str(getattr(torch.version, "hip", None) or "")
    try:
        found["cudnn"] = str(torch.backends.cudnn.version() or "")
    except RuntimeError as error:
        found["cudnn"] = f"unusable: {' '.join(str(error).split())[:200]}"
    return {name: value for name, value in found.items() if value}


def _starter(name: str, prepare: Prepare) -> Start:
    return lambda: _start(name, prepare)


def _start(name: str, prepare: Prepare) -> Optional[str]:
    """Compute a little by one means; why it did not, where it did not."""
    if name == "cuda" and not torch.cuda.is_available():
        return "PyTorch finds no GPU that it can use"
    ones = torch.ones(2, 2, device=GPU if name == "cuda" else "cpu")
    function = _through_onednn if name == "onednn" else _in_place
    total = float(prepare(function, ones)(ones).cpu())
    return None if total == 4 else f"the sum of four ones is {total}"


def _through_onednn(ones: Any) -> Any:
    return ones.to_mkldnn().relu().to_dense().sum()


def _in_place(ones: Any) -> Any:
    return (ones @ torch.eye(2, device=ones.device)).sum()
