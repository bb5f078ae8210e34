"""From a spec to cells and the jobs they need: pure, deterministic."""
