"""What a container may use. Apart from the rules: a conductor of processes imports no engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a container may use.

    Attributes:
        memory_mib: memory, with `/tmp` and shared memory in it; there is no swap.
        tmp_mib: size of `/tmp`, and once more of the home in it.
        shm_mib: size of `/dev/shm`.
        pids: processes and threads.
        output_bytes: all that it may leave in its output folder.
    """

    memory_mib: int = 8192
    tmp_mib: int = 2048
    shm_mib: int = 256
    pids: int = 1024
    output_bytes: int = 2 << 30
