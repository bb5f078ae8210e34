"""Places to run a group at: one contract, a module a place."""
