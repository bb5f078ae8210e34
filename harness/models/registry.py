"""The registry: every checkpoint that can be asked for by name."""

from __future__ import annotations

from harness.errors import ModelError
from harness.models import zoo
from harness.models.caches import locate
from harness.models.entries import CheckpointEntry
from harness.models.user_models import read_user_model, user_model_files
from harness.models.zoo import ArchitectureFacts, PretrainedFacts

SEEDED = "seeded"
_FRAMEWORKS = zoo.LIBRARIES


def list_checkpoints() -> tuple[CheckpointEntry, ...]:
    """All checkpoints: pretrained and seeded by architecture, then the person's own by name.

    Raises:
        ModelError: a TOML file of the person's own that is not valid.
    """
    return (*_zoo_entries(), *(read_user_model(path) for path in user_model_files()))


def find_checkpoint(name: str) -> CheckpointEntry:
    """The checkpoint of a name: `mobilenet_v2@torchvision`, `mobilenet_v2@seeded`, or one's own.

    Raises:
        ModelError: an unknown name (close ones are offered), or a TOML file that is not valid.
    """
    own = {path.stem: path for path in user_model_files()}
    if name in own:
        return read_user_model(own[name])
    architecture, at, key = name.partition("@")
    if at and architecture in zoo.architectures():
        facts = zoo.architecture_facts(architecture)
        if key == SEEDED:
            return _seeded(facts)
        if key in facts.pretrained:
            return _pretrained(facts, facts.pretrained[key])
    raise ModelError(f"There is no checkpoint named {name!r}.", _remedy(name, tuple(own)))


def is_known(name: str) -> bool:
    """Whether there is a checkpoint of that name; no description is read."""
    architecture, _, key = name.partition("@")
    if any(path.stem == name for path in user_model_files()):
        return True
    return architecture in zoo.architectures() and (
        key == SEEDED or key in zoo.architecture_facts(architecture).pretrained
    )


def _remedy(name: str, own: tuple[str, ...]) -> str:
    architecture, at, _ = name.partition("@")
    if architecture in zoo.architectures():
        facts = zoo.architecture_facts(architecture)
        names = [f"{architecture}@{key}" for key in (*facts.pretrained, SEEDED)]
        why = "" if at else f"{architecture} is an architecture; which of its weights? "
        return f"{why}There are {', '.join(names)}."
    known = (*own, *(entry_name for facts in _facts() for entry_name in _names(facts)))
    found = zoo.alike(name, known)
    hint = f"Did you mean {' or '.join(found)}? " if found else ""
    return (
        f"{hint}`harness model list` shows all; a file of your own: `harness model add NAME FILE`."
    )


def _names(facts: ArchitectureFacts) -> tuple[str, ...]:
    return tuple(f"{facts.name}@{key}" for key in (*facts.pretrained, SEEDED))


def _facts() -> tuple[ArchitectureFacts, ...]:
    return tuple(zoo.architecture_facts(name) for name in zoo.architectures())


def _zoo_entries() -> tuple[CheckpointEntry, ...]:
    return tuple(
        entry
        for facts in _facts()
        for entry in (
            *(_pretrained(facts, one) for one in facts.pretrained.values()),
            _seeded(facts),
        )
    )


def _pretrained(facts: ArchitectureFacts, file: PretrainedFacts) -> CheckpointEntry:
    entry = CheckpointEntry(
        name=f"{facts.name}@{file.key}",
        origin="pretrained",
        architecture=facts.name,
        framework=_FRAMEWORKS[file.library],
        library=file.library,
        format="keras_weights" if file.library == "keras" else "weights",
        recipe=file.recipe,
        size=facts.size,
        classes=file.classes,
        output="logits",
        layout="NCHW",
        variant={} if file.library == "keras" else {**zoo.built_by_torch(facts), **file.variant},
        licence=file.licence,
        url=file.url,
        filename=file.filename,
        repository=file.repository,
        sha256=file.sha256,
        sha256_prefix=file.sha256_prefix,
        md5=file.md5,
        size_bytes=file.size_bytes,
        accuracy=file.accuracy,
        origin_file=zoo.document(facts.name),
        builder=file.builder,
        label=file.label,
        recipe_in_model=file.recipe_in_model,
        note=file.note,
    )
    return locate(entry)


def _seeded(facts: ArchitectureFacts) -> CheckpointEntry:
    recipe = facts.recipes["torch"]
    return CheckpointEntry(
        name=f"{facts.name}@{SEEDED}",
        origin="seeded",
        architecture=facts.name,
        framework="torch",
        format="weights",
        recipe=recipe.model_copy(update={"name": f"{facts.name}@{SEEDED}"}),
        size=facts.size,
        output="logits",
        layout="NCHW",
        variant=zoo.built_by_torch(facts),
        licence="made on this machine: no trained weights in it",
        origin_file=zoo.document(facts.name),
        builder=facts.torch[0],
        note="Random weights whose batch-norm statistics and head are fitted on given images, so "
        "that labels spread. It recognises nothing: for comparing environments only.",
    )
