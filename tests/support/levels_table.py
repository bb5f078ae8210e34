"""The table of docs/levels.md as it follows from `harness/plan/levels.py`.

`PYTHONPATH=. python tests/support/levels_table.py` writes it into the page again.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.plan.levels import LEVELS, NAMED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "levels.md"
BEGIN, END = "<!-- levels: begin -->\n", "<!-- levels: end -->\n"


def table() -> str:
    """The rows, a backend each."""
    lines = [
        f"| backend | {' | '.join(NAMED)} |",
        f"|---|{'---|' * len(NAMED)}",
    ]
    for backend, rows in LEVELS.items():
        cells = [_shown(rows[level]) for level in NAMED]
        lines.append(f"| `{backend}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(found: object) -> str:
    if isinstance(found, str):
        return f"– ({found})"
    return f"`{json.dumps(found)}`" if found else "nothing set"


def written() -> str:
    """What stands in the page between the marks."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


if __name__ == "__main__":
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")
