"""Triton kernels and their launchers, imported as `semicon_fast.kernels`.

The folder lies next to the package, as csrc/ does. Importing it under another name is an error,
since its modules would then be loaded twice.
"""

if __name__ != "semicon_fast.kernels":
    raise ImportError(f"import this package as semicon_fast.kernels, not as {__name__}")
