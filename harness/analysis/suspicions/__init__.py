"""From a cell's outputs alone: what is probably wrong with it, and the evidence for that."""

from harness.analysis.suspicions.evidence import Evidence
from harness.analysis.suspicions.suspect import suspect, suspect_all
from harness.analysis.suspicions.suspicion import Suspicion

__all__ = ["Evidence", "Suspicion", "suspect", "suspect_all"]
