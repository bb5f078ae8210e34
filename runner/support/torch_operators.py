"""Which operators PyTorch runs, and by which kernels: seen in a run, or read from what it generated."""

from __future__ import annotations

import ast
import re
from typing import Any, Callable, Dict, Iterable, List, Optional

_LIBRARIES = (
    ("mkldnn", "oneDNN"),
    ("onednn", "oneDNN"),
    ("cudnn", "cuDNN"),
    ("miopen", "MIOpen"),
    ("mkl", "MKL"),
    ("xnnpack", "XNNPACK"),
    ("nnpack", "NNPACK"),
)
# These move, view or reserve memory; where one is below an operator, it is not its kernel.
_MEMORY_WORDS = """
    empty empty_like empty_strided zeros zeros_like ones fill_ zero_ lift_fresh resize_
    resize_as_ view _unsafe_view reshape _reshape_alias as_strided as_strided_ expand expand_as
    t transpose permute flatten squeeze unsqueeze squeeze_ unsqueeze_ select slice narrow detach
    alias to _to_copy copy_ clone contiguous resolve_conj resolve_neg result_type is_nonzero
    item _local_scalar_dense set_ lift detach_ _has_compatible_shallow_copy_type constant_pad_nd
    new_empty new_zeros conj to_dense to_mkldnn _to_dense chunk split unbind scalar_tensor
    can_cast promote_types _nnpack_available
"""
_MEMORY = frozenset(_MEMORY_WORDS.split())


def observed(run: Callable[[], Any]) -> Dict[str, int]:
    """The operators of one run, each with the kernel that it came down to."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run()
    return count(seen.events())


def count(events: Iterable[Any]) -> Dict[str, int]:
    """Operators by name and kernel, from a profiler's events: `conv2d (mkldnn_convolution)`.

    An event that is no operator (of TorchScript's `forward`, of a compiled region) counts for
    those inside it.
    """
    found: Dict[str, int] = {}
    for event in events:
        if event.cpu_parent is None:
            for top in _operators(event):
                name = _described(top)
                found[name] = found.get(name, 0) + 1
    return found


def in_graph(kinds: Iterable[str]) -> Dict[str, int]:
    """Operators by name, from the kinds of a TorchScript graph's nodes."""
    found: Dict[str, int] = {}
    for kind in kinds:
        name = kind.split("::")[-1]
        if name not in _MEMORY and not re.match(
            r"prim::\w*(Constant|GetAttr|Construct|Broadcast)", kind
        ):
            _add(found, _with_library(name, name))
    return found


def called(source: str) -> Dict[str, int]:
    """What the wrapper that inductor wrote in Python calls: its own kernels and library operators.

    Its method (in older versions: function) `call` holds one statement a kernel.
    """
    found: Dict[str, int] = {}
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef) and _is_wrapper(function):
            for node in ast.walk(function):
                name = _kernel(_dotted(node.func)) if isinstance(node, ast.Call) else None
                if name is not None:
                    found[name] = found.get(name, 0) + 1
    return found


def inputs_taken(source: str) -> int:
    """How many tensors that wrapper is given: with frozen weights, the program's input alone."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef) and _is_wrapper(function):
            for node in function.body:
                if (
                    isinstance(node, ast.Assign)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "args"
                ):
                    (target,) = node.targets
                    return len(target.elts) if isinstance(target, (ast.Tuple, ast.List)) else 1
    return 0


_CPP_KERNEL = re.compile(r"^\s*(?:kernels\.)?(cpp_fused_\w+|cpp_\w*gemm\w*)\(", re.MULTILINE)
_CPP_TRITON = re.compile(
    r"^\s*(?:launchKernel\(kernels\.|call_)(triton_\w+?)(?:,|\()", re.MULTILINE
)
_CPP_OPERATOR = re.compile(r"\baoti_torch_(cpu|cuda)_(\w+)\(")


def called_in_cpp(source: str) -> Dict[str, int]:
    """The same of the wrapper that AOTInductor wrote in C++."""
    found: Dict[str, int] = {}
    declared = re.compile(r'^\s*(?:extern "C"|template|static|void|inline|AOTI_TORCH_EXPORT)')
    lines = [line for line in source.splitlines() if not declared.match(line)]
    body = "\n".join(lines)
    for match in [*_CPP_KERNEL.finditer(body), *_CPP_TRITON.finditer(body)]:
        _add(found, _own(match.group(1)))
    for match in _CPP_OPERATOR.finditer(body):
        _add(found, _library(match.group(2).lstrip("_").replace("mkldnn__", "mkldnn.", 1)))
    return found


def _add(found: Dict[str, int], name: str) -> None:
    found[name] = found.get(name, 0) + 1


def _is_wrapper(function: ast.FunctionDef) -> bool:
    return function.name == "call" or function.name.startswith("partition_")


def _dotted(node: Any) -> str:
    parts: List[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))


def _kernel(name: str) -> Optional[str]:
    """A call's kind; None for what computes nothing."""
    parts = name.split(".")
    if parts[0] == "extern_kernels":
        return _library(parts[-1])
    if parts[:2] == ["torch", "ops"] and len(parts) > 3:
        space, operator = parts[2], parts[3]
        if space == "inductor" and operator.startswith("_"):
            return None
        return _library(operator if space == "aten" else f"{space}.{operator}")
    if parts[0] == "aten":
        return _library(parts[1])
    if name.startswith(("cpp_fused_", "triton_", "cpp_")):
        return _own(parts[0])
    return None


def _own(name: str) -> str:
    """A generated kernel without its number: `hardtanh (inductor C++)`."""
    language = "Triton" if name.startswith("triton_") else "C++"
    kind = re.sub(r"_\d+$", "", name)
    kind = re.sub(r"^(cpp_fused_|triton_(?:poi|red|per|tem|for)_fused_|triton_|cpp_)", "", kind)
    return f"{kind.strip('_') or 'fused'} (inductor {language})"


def _library(operator: str) -> str:
    described = _with_library(operator, operator)
    return f"{operator} (ATen)" if described == operator else described


def _operators(event: Any) -> List[Any]:
    if "::" in event.name:
        return [] if event.name.split("::")[-1] in _MEMORY else [event]
    return [found for child in event.cpu_children for found in _operators(child)]


def _described(event: Any) -> str:
    """An operator, and the kernel that it came down to, with its library where the name tells.

    Of several below one, that which is there most often (a convolution in groups), then the first.
    """
    name = event.name.split("::")[-1]
    kernel = event
    while True:
        below = [
            child
            for child in kernel.cpu_children
            if "::" in child.name and child.name.split("::")[-1] not in _MEMORY
        ]
        if not below:
            break
        names = [child.name for child in below]
        kernel = max(below, key=lambda child: names.count(child.name))
    last = kernel.name.split("::")[-1]
    described = name if last == name else f"{name} by {last}"
    return _with_library(described, last)


def _with_library(described: str, kernel: str) -> str:
    names = (library for part, library in _LIBRARIES if part in kernel.lower())
    library = next(names, None)
    return described if library is None else f"{described} ({library})"
