"""Whether a session's times may be believed: VALID, or INVALID with reasons. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.execution.validity.clocks import judge_clocks, judge_siblings
from harness.execution.validity.facts import Facts, Finding
from harness.execution.validity.machine import judge_neighbours, judge_spinning, judge_steal
from harness.execution.validity.rounds import (
    judge_amounts,
    judge_control,
    judge_drift,
    judge_warmup,
)

__all__ = ["judge"]


def judge(
    document: Mapping[str, Any],
    rounds: NDArray[np.int64],
    members: NDArray[np.int64],
    durations: NDArray[np.int64],
    samples: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Judge a session.

    What is not in the document is not judged, and `unjudged` says so. Every bound is a named
    constant with its reason, in the module that judges by it. The kinds of reasons: of a cell
    `too-few-samples`, `too-few-rounds`, `drift`, `shared-drift`, `not-steady`, `busy-machine`,
    `stolen`, `spinning`, `unequal-outputs`; of the whole session `throttled`, `clocks-changed`,
    `control-off`, and `busy-machine` where the other hardware threads of the cores were busy.

    Args:
        document: the session's, as `session.json` holds it.
        rounds: [M], the round of each timed query.
        members: [M], the position of its cell among the document's `members`.
        durations: [M], nanoseconds.
        samples: what the `Sampler` wrote.

    Returns:
        `cells`: by key, `valid` (no reason of its own and none of the session) and its own
        `reasons`; `session`: the reasons that concern all; `unjudged`: what could not be judged,
        and why. A reason is `kind` and `message`.
    """
    facts = Facts.read(document, rounds, members, durations, samples)
    findings = [
        *judge_amounts(facts),
        *judge_warmup(facts),
        *judge_drift(facts),
        *judge_neighbours(facts),
        *judge_siblings(facts),
        *judge_steal(facts),
        *judge_spinning(facts),
        *judge_clocks(facts),
        *judge_control(facts),
        *_judge_outputs(facts),
    ]
    session = [finding.reason() for finding in findings if finding.key is None and finding.kind]
    cells = {}
    for key in facts.keys:
        own = [finding.reason() for finding in findings if finding.key == key]
        cells[key] = {"valid": not own and not session, "reasons": own}
    unjudged = [finding.message for finding in findings if not finding.kind]
    return {"cells": cells, "session": session, "unjudged": unjudged}


def _judge_outputs(facts: Facts) -> list[Finding]:
    """Whether what was timed gave the answers that were committed."""
    found = facts.document.get("outputs_equal") or {}
    findings = []
    unknown: dict[str, list[str]] = {}
    for key in facts.keys:
        entry = found.get(key) or {"absent": "they were not looked at"}
        if entry.get("absent"):
            unknown.setdefault(str(entry["absent"]), []).append(key)
        elif not entry.get("equal", True):
            largest = entry.get("max_abs_diff")
            by = f" by up to {float(largest):.3g}" if largest is not None else ""
            findings.append(
                Finding(
                    key,
                    "unequal-outputs",
                    f"The outputs of its last timed query differ{by} from its committed answers: "
                    "what was timed is not what was answered. See whether the model or its backend "
                    "depends on chance or on the batch.",
                )
            )
    for why, keys in unknown.items():
        findings.append(Finding.unjudged(f"outputs of {facts.names(keys)}: {why}"))
    return findings
