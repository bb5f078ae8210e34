"""Which executor a sweep takes: what was asked for, or what this machine has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from harness.containers.engine import Engine, EngineInfo, connect
from harness.errors import EngineError

Asked = Literal["auto", "docker", "venv"]
_HERE = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Choice:
    """The executor, why, and the engine that answered (for `docker`)."""

    executor: Literal["docker", "venv"]
    reason: str
    engine: Engine | None = None


def choose_executor(asked: Asked, connecting: Callable[[], Engine] = connect) -> Choice:
    """Choose the executor; `auto` takes containers where an engine of this machine answers.

    The caller closes the engine.

    Raises:
        EngineError: `docker` was asked for and no engine answers.
    """
    if asked == "venv":
        return Choice("venv", "asked for")
    if asked == "docker":
        return Choice("docker", "asked for", connecting())
    try:
        engine = connecting()
    except EngineError as error:
        return Choice("venv", error.message.rstrip("."))
    if not is_local(engine.info):
        engine.close()
        return Choice(
            "venv",
            f"the engine at {engine.info.address} is on another machine, which has not this "
            "one's folders",
        )
    return Choice("docker", f"{engine_name(engine.info)} answers at {engine.info.address}", engine)


def engine_name(info: EngineInfo) -> str:
    """`Docker 28.2.2`, `Podman 4.3.1`."""
    return f"{info.kind.capitalize()} {info.version}".strip()


def is_local(info: EngineInfo) -> bool:
    """Whether the engine runs on this machine, so that it can mount this machine's folders."""
    url = urlsplit(info.address)
    return url.scheme in {"", "unix"} or (url.hostname or "") in _HERE
