"""The distributions that are installed beside the runner, and a hash of each one's files."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Dict, Tuple

from runner.contents import content_hash


def packages() -> Tuple[Dict[str, str], Dict[str, str]]:
    """Version of each distribution by its normalised name, and the hash of each one's files.

    The first on the path counts: it is the one that would be imported. The second table lacks
    those whose files cannot be found.

    Raises:
        RunnerError: kind `unsupported`: what is in a framework cannot be told.
    """
    versions: Dict[str, str] = {}
    contents: Dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if not name:
            continue
        name = re.sub(r"[-_.]+", "-", name).lower()
        if name in versions:
            continue
        versions[name] = distribution.version
        digest = content_hash(distribution, name)
        if digest is not None:
            contents[name] = digest
    return dict(sorted(versions.items())), dict(sorted(contents.items()))
