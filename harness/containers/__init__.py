"""The container engine: connecting, the rules every container runs under, and what they leave."""
