"""Compare two folders of text files: how many images have another first label."""

import sys
from pathlib import Path

one, other = map(Path, sys.argv[1:])


def first_label(path):
    """The label on the first line of a file."""
    return path.read_text(encoding="utf-8").partition(",")[0]


print(sum(first_label(path) != first_label(other / path.name) for path in sorted(one.iterdir())))
