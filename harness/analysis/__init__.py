"""What the answers and times say: pure functions over arrays."""
