"""The kinds of codebooks, and of similarities for semantic ones. Does not import torch."""

# Each is the name of a function of this package.
KINDS = ("semantic", "hadamard", "random", "greedy")
SIMILARITIES = ("product", "cosine")
