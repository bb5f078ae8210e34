"""What is said of sockets at which no engine listens."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import pytest

from harness.containers.engine import connect
from harness.errors import EngineError


@pytest.mark.parametrize(
    ("left", "said"), [(True, "nothing listens there"), (False, "there is no such socket")]
)
def test_a_socket_without_an_engine_is_told_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bool, said: str
) -> None:
    path = tmp_path / "s"
    if left:
        with socket.socket(socket.AF_UNIX) as ended:
            ended.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with pytest.raises(EngineError, match=said):
        connect()
    # A connection that was left open would be told now, and fail this test.
    gc.collect()
