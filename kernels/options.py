"""Launch options shared by all kernels."""


def compiled_with(num_warps: int, num_stages: int = 2) -> dict[str, int]:
    """Launch options of a kernel.

    Fused multiply-adds are enabled explicitly: they are Triton's default up to 3.9, which warns
    that the default changes in 3.10.
    """
    return {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
