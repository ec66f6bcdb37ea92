"""Check for optional dependencies; report a missing one in one line."""

from __future__ import annotations

from importlib.util import find_spec

from ader_stream.errors import InputError

EXTRAS = {
    "torch": "model",
    "safetensors": "model",
    "duckdb": "data",
    "onnx": "onnx",
    "onnx_ir": "onnx",
    "onnxscript": "onnx",
    "matplotlib": "demo",
    "jinja2": "demo",
    "yaml": "demo",
}
"""Module → the extra that installs it."""


def require(*modules: str) -> None:
    """Raise `InputError` for the first module that is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise missing(module)


def missing(module: str) -> InputError:
    """Return the error for a module of an extra."""
    extra = EXTRAS[module]
    return InputError(f"this needs {module}; pip install 'ader-stream[{extra}]', or [all]")
