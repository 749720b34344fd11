"""Launch options shared by all kernels."""


def compiled_with(
    num_warps: int, num_stages: int = 2, maxnreg: int | None = None
) -> dict[str, int]:
    """Launch options of a kernel; maxnreg is the most registers of a thread.

    Without it the compiler takes as many as let a certain number of programs share a
    multiprocessor, for which it may spill some.

    Fused multiply-adds are enabled explicitly: they are Triton's default up to 3.9, which warns
    that the default changes in 3.10.
    """
    options = {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
    return options if maxnreg is None else {**options, "maxnreg": maxnreg}
