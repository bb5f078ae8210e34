"""The distributions that are installed beside the runner, and a hash of each one's files."""

from __future__ import annotations

import csv
import hashlib
import re
from importlib import metadata
from typing import Dict, Optional, Tuple


def packages() -> Tuple[Dict[str, str], Dict[str, str]]:
    """Version of each distribution by its normalised name, and the hash of each one's files.

    The first on the path counts: it is the one that would be imported. The second table lacks
    those that no installer kept a record of.
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
        digest = content_hash(distribution.read_text("RECORD"))
        if digest is not None:
            contents[name] = digest
    return dict(sorted(versions.items())), dict(sorted(contents.items()))


def content_hash(record: Optional[str]) -> Optional[str]:
    """SHA-256 over the files that a `RECORD` lists with their hashes; None if it lists none.

    Two builds of one version differ in it. Left out is what differs from place to place: scripts
    hold the interpreter's path, and the folder of metadata holds what the installer did.
    """
    if not record:
        return None
    kept = []
    for row in csv.reader(record.splitlines()):
        if len(row) < 2 or not row[1] or row[0].startswith(("..", "/")):
            continue
        if ".dist-info/" in row[0] or row[0].endswith((".pyc", ".pth")):
            continue
        kept.append(f"{row[0]}\0{row[1]}\n")
    if not kept:
        return None
    return hashlib.sha256("".join(sorted(kept)).encode()).hexdigest()
