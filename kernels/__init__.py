"""Triton kernels and their launchers, imported as `semicon_fast.kernels`.

The folder lies beside the package so that it reads as one of its two engines; under any other name
the same operators would be registered twice.
"""

if __name__ != "semicon_fast.kernels":
    raise ImportError(f"import this package as semicon_fast.kernels, not as {__name__}")
