"""What TVM makes of a model, as text: Relax before and after its passes, kernels, generated code."""

from __future__ import annotations

from typing import Any, Iterator

from runner import ir_files

_SOURCES = {"llvm": (("ll", "ll"), ("asm", "s")), "c": (("c", "c"),), "cuda": (("cuda", "cu"),)}
"""By kind of a generated module: TVM's name of a form, and the ending of a file of it."""


def keep(imported: Any, lowered: Any, executable: Any, folder: str) -> None:
    """Write the stages of one compilation.

    Args:
        imported: the Relax module before TVM's passes.
        lowered: the module after them: the virtual machine's function, and kernels in TIR.
        executable: what was compiled of it.
        folder: where to write.
    """
    ir_files.write_text(folder, "imported.py", imported.script())
    ir_files.write_text(folder, "lowered.py", lowered.script())
    ir_files.write_text(folder, "bytecode.txt", executable.as_text())
    for index, module in enumerate(below(executable.mod)):
        kind = kind_of(module)
        for form, ending in _SOURCES.get(kind, (("", "txt"),)):
            text = source(module, form)
            if text:
                ir_files.write_text(folder, f"kernels_{index}_{kind}.{ending}", text)


def kind_of(module: Any) -> str:
    """What a generated module is: llvm, c, cuda, or packed weights."""
    return str(getattr(module, "kind", "") or module.type_key)


def below(module: Any) -> Iterator[Any]:
    """The modules that a module was made with, each once."""
    # Older versions have another name for them, and for the kind.
    imports: Any = module.imports if hasattr(module, "imports") else module.imported_modules
    for inner in list(imports):
        yield inner
        yield from below(inner)


def source(module: Any, form: str) -> str:
    """A generated module as text; empty where TVM keeps none, as of packed weights."""
    show = getattr(module, "inspect_source", None) or module.get_source
    try:
        return str(show(form))
    except Exception as error:
        print(f"runner: TVM shows no {form or 'source'} of a module: {error!r}", flush=True)
        return ""
