"""The sweep file: its models, defaults, JSON Schema and loading."""
