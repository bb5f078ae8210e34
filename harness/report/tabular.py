"""Tables as the terminal and as Markdown have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text


def terminal_table(title: str, *columns: str, left: Sequence[str] = ()) -> Table:
    """An empty table for the terminal; columns that are not named in `left` stand on the right."""
    table = Table(
        # Names of models are no markup.
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
        collapse_padding=True,
    )
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", overflow="fold")
    return table


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A table whose first `left` columns stand on the left, the others on the right."""
    rule = [":--" if number < left else "--:" for number in range(len(heads))]
    lines = [heads, rule, *([markdown_text(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Text that no reader of Markdown takes for markup or HTML."""
    folded = " ".join(text.split())
    for sign in ("\\", "`", "*", "_", "|", "[", "]"):
        folded = folded.replace(sign, f"\\{sign}")
    return folded.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
