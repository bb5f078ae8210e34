"""How the names of model files end; light, because every command line is read by it."""

from __future__ import annotations

MODEL_SUFFIXES = frozenset(
    {
        *(".onnx", ".tflite", ".keras", ".pb"),
        *(".npz", ".pth", ".pt", ".bin", ".safetensors", ".h5", ".hdf5"),
        *(".pt2", ".toml"),
    }
)
"""What is taken for a file even where there is none of that name."""
