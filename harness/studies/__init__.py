"""Studies: many cells of one model and backend that differ in what its compiler does."""
