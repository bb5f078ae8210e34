"""What runs inside an environment: `python -m runner job.json`.

Standard library and NumPy only, Python 3.8 or later. It shares no code with the orchestrator, only
the documents that `schemas/` describes: a job comes in, events go out on standard output, and a
loaded model takes commands over a Unix socket.
"""
