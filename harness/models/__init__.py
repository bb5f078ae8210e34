"""Models: what a file holds, and the checkpoint it makes with recipe and classes.

`inspect` reads files (`onnx_file` and `tflite_file` know the formats), `checkpoint` says how
inputs are fed and scores read, `synthetic` makes the quick sweep's own model and images.
"""
