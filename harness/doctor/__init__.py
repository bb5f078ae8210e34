"""What this machine has: cores, memory, GPUs, a container engine, and what `auto` will choose."""
