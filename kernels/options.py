"""How every kernel is compiled."""


def compiled_with(num_warps: int, num_stages: int = 2) -> dict[str, int]:
    """Launch options of a kernel.

    Fused multiply-adds are asked for by name: Triton's default is on up to 3.9, with a warning
    that it will be off in 3.10.
    """
    return {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
