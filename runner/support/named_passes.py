"""The two settings that name a compiler's optional passes, and that only one of them can be given."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence, Tuple

from runner.errors import RunnerError

DISABLED, ONLY = "disabled_passes", "passes"
SETTINGS = (DISABLED, ONLY)
"""All run but these; of the optional ones only these run."""


def left_out(
    backend: str, settings: Mapping[str, Any], there: Sequence[str]
) -> Optional[Tuple[str, ...]]:
    """The passes that are left out, in the order of `there`; None where neither setting was given.

    Args:
        backend: who asks, for messages.
        settings: as `Offer.accept` gives them.
        there: every optional pass.

    Raises:
        RunnerError: kind `unsupported`: both settings were given.
    """
    without, only = settings.get(DISABLED), settings.get(ONLY)
    if without is not None and only is not None:
        raise RunnerError(
            "unsupported",
            f"{backend}: {DISABLED} and {ONLY} both say which passes run; give one of them",
        )
    if only is not None:
        return tuple(name for name in there if name not in only)
    return None if without is None else tuple(name for name in there if name in without)
