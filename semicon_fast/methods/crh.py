"""Center-reassigned hashing (CRH, AAAI 2026): classes choose their centers while training.

The bits are divided among H heads of d bits, each with a codebook of M = 2 C different random
words. The center of a class is one word of each head, and no two classes have the same word of a
head. From time to time each head gives every class a word that its images' codes are near to.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .. import centers as codebooks
from .base import check_number
from .class_centers import CenterMethod, class_shares, distance_to_signs, margin_cross_entropy

if TYPE_CHECKING:
    from ..models.outputs import HashOutput

# Words of a head for each class.
WORDS = 2
ASSIGNMENTS = ("greedy", "optimal")


class CRH(CenterMethod):
    """`margin_cross_entropy` with centers that are reassigned, and a quantisation term.

    Outer iterations are the epochs of the paper: there should be many, of one epoch each. Codes of
    the network while it was trained in an iteration, on augmented images, decide the centers after
    it, as released. The network's outputs v should be linear (no tanh).

    Buffers, in addition to those of `CenterMethod`: words float32 (H, M, d) of -1 and +1;
    assignment int64 (H, C), the word of each class; and of the current iteration sums float64
    (C, k) and images float64 (C,), the signs of the outputs and the images of each class, where an
    image with several labels counts for each in equal shares.
    """

    name: ClassVar[str] = "crh"

    words: Tensor
    assignment: Tensor
    sums: Tensor
    images: Tensor

    def __init__(
        self,
        *,
        scale: float | None = None,
        margin: float = 0.2,
        quantisation: float | None = None,
        first: int = 20,
        every: int = 5,
        assign: str = "greedy",
    ) -> None:
        """Set the shape of the loss, and when and how centers are reassigned.

        Args:
            scale: factor of the cosines, > 0; None: sqrt(2) ln(C - 1), as published, for which
                there must be 3 classes.
            margin: margin of the cosine, >= 0.
            quantisation: weight of mean (|tanh v| - 1)^2, >= 0 (Eqs. 3 and 4); None: 0.1, and 0 for
                multi-label images, as published.
            first: so many outer iterations at the start are all followed by a reassignment, >= 0.
            every: afterwards every so many are, >= 1.
            assign: "greedy": in a random order, each class takes the best word that is left (Eq.
                6). "optimal": the assignment with the least sum of costs, by the Hungarian
                algorithm, which needs scipy.
        """
        super().__init__()
        self.given_scale = None if scale is None else check_number("scale", scale, 0, above=True)
        self.margin = check_number("margin", margin, 0)
        self.given_weight = (
            None if quantisation is None else check_number("quantisation", quantisation, 0)
        )
        for name, value, lowest in (("first", first, 0), ("every", every, 1)):
            if type(value) is not int or value < lowest:
                raise ValueError(f"{name} must be an int of at least {lowest}, got {value!r}")
        if assign not in ASSIGNMENTS:
            raise ValueError(f"assign must be one of {', '.join(ASSIGNMENTS)}, got {assign!r}")
        self.first, self.every = first, every
        self._solve = _linear_sum_assignment() if assign == "optimal" else None
        self._reassigns = False

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        """See `CenterMethod.begin`.

        Raises ValueError for 2 classes without a scale, or if no head has 2 C different words.
        """
        super().begin(labels, code_length, generator)
        classes, device = len(self.centers), labels.device
        if self.given_scale is None and classes == 2:
            raise ValueError(
                "crh's scale is sqrt(2) ln(C - 1), which is 0 for 2 classes: set scale to a number "
                "above 0"
            )
        self.scale = self.given_scale or math.sqrt(2) * math.log(classes - 1)
        published = 0.1 if labels.ndim == 1 else 0.0
        self.quantisation = published if self.given_weight is None else self.given_weight
        bits = head_bits(code_length, WORDS * classes)
        heads = code_length // bits
        drawn = [
            codebooks.random(WORDS * classes, bits, generator, balanced=False) for _ in range(heads)
        ]
        self.register_buffer("words", torch.stack(drawn).float().to(device))
        self.register_buffer("assignment", torch.arange(classes, device=device).repeat(heads, 1))
        for name, shape in (("sums", (classes, code_length)), ("images", (classes,))):
            zeros = torch.zeros(shape, dtype=torch.float64, device=device)
            self.register_buffer(name, zeros)
        self._join_words()

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        self._reassigns = iteration < self.first or (iteration + 1) % self.every == 0
        self.sums.zero_()
        self.images.zero_()

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms "class" and "quantisation"; also counts the codes for the reassignment."""
        outputs = output.codes
        losses = margin_cross_entropy(outputs, self.centers, labels, self.scale, self.margin)
        if self._reassigns:
            self._count(outputs.detach(), labels)
        return {
            "class": losses.mean(),
            "quantisation": self.quantisation * distance_to_signs(torch.tanh(outputs)),
        }

    @torch.no_grad()
    def end_iteration(self) -> None:
        """Reassign the words, in the iterations that end with it.

        A class without images in the iteration counts as if its images had its center.
        """
        if not self._reassigns:
            return
        found = self.images > 0
        means = self.centers.double()
        means[found] = self.sums[found] / self.images[found, None]
        costs = reassignment_costs(means, self.words.double()).cpu()
        if self._solve is None:
            chosen = greedy_assignment(costs, self._generator)
        else:
            chosen = torch.stack([torch.from_numpy(self._solve(cost.numpy())[1]) for cost in costs])
        self.assignment.copy_(chosen)
        self._join_words()

    @torch.no_grad()
    def _count(self, outputs: Tensor, labels: Tensor) -> None:
        shares = class_shares(labels, len(self.centers)).double()
        signs = torch.where(outputs >= 0, 1.0, -1.0).double()
        self.sums += shares.T @ signs
        self.images += shares.sum(0)

    def _join_words(self) -> None:
        """The centers: the words of each class, one head after the other (Eq. 8)."""
        heads = torch.arange(len(self.words), device=self.words.device)
        self.centers.copy_(self.words[heads, self.assignment.T].flatten(1))


def head_bits(code_length: int, words: int) -> int:
    """d, the bits of a head: the least divisor of the code length with 2^d >= words.

    Raises ValueError if even the whole code has fewer words.
    """
    for bits in range(1, code_length + 1):
        if code_length % bits == 0 and 2**bits >= words:
            return bits
    raise ValueError(
        f"crh needs codes of at least {(words - 1).bit_length()} bits, since each class has "
        f"{WORDS} words to choose from, {words} in all, got code_length {code_length}"
    )


def reassignment_costs(means: Tensor, words: Tensor) -> Tensor:
    """The mean of |b - w|^2 over the codes b of each class, for every word w (Eqs. 5 and 7).

    Since b and w are -1 or +1 in each bit, it is 2 d - 2 (mean of b) . w.

    Args:
        means: mean codes of the classes, (C, H d).
        words: (H, M, d) of -1 and +1.

    Returns:
        (H, C, M).
    """
    heads, _, bits = words.shape
    parts = means.unflatten(1, (heads, bits)).transpose(0, 1)
    return 2 * (bits - parts @ words.mT)


def greedy_assignment(costs: Tensor, generator: torch.Generator | None) -> Tensor:
    """In each head, classes in random order take the cheapest word that is left (Eq. 6).

    Args:
        costs: (H, C, M) on the CPU, M >= C.
        generator: source of the orders.

    Returns:
        the word of each class, int64 (H, C), different within a head.
    """
    chosen = torch.empty(costs.shape[:2], dtype=torch.int64)
    for head, cost in enumerate(costs):
        taken = torch.zeros(costs.shape[2], dtype=torch.bool)
        for row in torch.randperm(len(cost), generator=generator).tolist():
            word = cost[row].masked_fill(taken, torch.inf).argmin()
            chosen[head, row] = word
            taken[word] = True
    return chosen


def _linear_sum_assignment() -> Callable[..., tuple]:
    """scipy's solver. Raises ValueError that names the extra, where scipy is missing."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise ValueError(
            "assign=optimal needs the package scipy, which is not installed: "
            "pip install 'semicon_fast[assignment]'"
        ) from None
    solver: Callable[..., tuple] = linear_sum_assignment
    return solver
