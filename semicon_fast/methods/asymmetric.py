"""The asymmetric objective of SEMICON (paper Eq. 16) and ADSH, and its discrete code update.

In each outer iteration the network is trained on n sampled images, while the codes of all N
training images (the database) are learned::

    beta * sum_ij (k S_ij - f_i . b_j)^2  +  gamma * sum_i |f_i - b_i|^2

f_i is the network's output for a sampled image, b_j a code. S is the soft similarity: +1 for
similar pairs and -rho for the others, with rho = n_pos / n_neg over the n x N pairs, so that S sums
to 0 (similarities of {0, 1} and of {-1, +1} lead to the same matrix). With the groups of
`similarity.py`, S X = (1 + rho) (R times the group sums of X) - rho (sum of X). Once these sums are
computed for an iteration, the loss of a batch costs O(batch * k^2), and the n x N matrix is never
formed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .base import Method, check_labels, check_number
from .similarity import CHUNK_ROWS, Groups, gram, group_sums

if TYPE_CHECKING:
    from ..models.outputs import HashOutput


class AsymmetricMethod(Method):
    """The asymmetric objective.

    Buffers: codes B float32 (N, k); outputs U float32 (n, k) of the sampled images; rows int64
    (n,), the sampled images; position int64 (N,), the index of an image in `rows` or -1; fresh
    bool (n,), outputs of this process since the last `exchange`; and the sums over the database
    for the current iteration, in float64.
    """

    asymmetric: ClassVar[bool] = True

    codes: Tensor
    position: Tensor
    outputs: Tensor
    fresh: Tensor
    rows: Tensor
    targets: Tensor
    target_norms: Tensor
    code_gram: Tensor
    ratio: Tensor
    updates: Tensor

    def __init__(
        self,
        *,
        gamma: float = 200.0,
        beta: float = 1.0,
        normalise: bool = True,
        reference_length: float | None = 12.0,
        start: str = "normal",
    ) -> None:
        """Set the weights of the terms.

        Args:
            gamma: weight of the quantisation term, >= 0 (Eq. 16).
            beta: weight of the similarity term, >= 0 (Eq. 16).
            normalise: divide the loss by (images in the batch * N) and multiply it by
                reference_length / k, as the released code does, which makes the learning rate
                independent of k and N. False gives Eq. 16 as printed.
            reference_length: see normalise; None omits this factor, as in ADSH's code.
            start: codes before the first update, "normal" (standard normal values) or "zeros".
        """
        super().__init__()
        self.gamma = check_number("gamma", gamma, 0)
        self.beta = check_number("beta", beta, 0)
        if reference_length is not None:
            check_number("reference_length", reference_length, 0, above=True)
        if start not in ("normal", "zeros"):
            raise ValueError(f'start must be "normal" or "zeros", got {start!r}')
        self.normalise = bool(normalise)
        self.reference_length = reference_length
        self.start = start
        self.groups: Groups | None = None

    def begin(self, labels: Tensor, code_length: int, generator: torch.Generator) -> None:
        check_labels(labels)
        if code_length < 1:
            raise ValueError(f"code_length must be 1 or more, got {code_length}")
        device = labels.device
        self.groups = Groups(labels)
        shape = (len(labels), code_length)
        if self.start == "normal":
            codes = torch.randn(shape, generator=generator, device=generator.device).to(device)
        else:
            codes = torch.zeros(shape, device=device)
        self.register_buffer("codes", codes)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer(
            "position", torch.full((len(labels),), -1, device=device), persistent=False
        )

    def start_iteration(self, iteration: int, rows: Tensor) -> None:
        """Compute the sums over the database that the losses of this iteration need: O(N k^2)."""
        groups, rows = self._begun_groups(), self._checked_rows(rows)
        number = len(self.codes)
        sums = group_sums(self.codes, groups.index, len(groups))
        # One product with R for both: per group, the number of similar images and their code sum.
        similar = groups.sum_similar(torch.cat([groups.counts[:, None], sums], 1))
        sizes = similar[:, 0]
        positive = float(sizes[groups.index[rows]].sum())
        negative = float(len(rows)) * number - positive
        # Without dissimilar pairs S is 1 everywhere, and the ratio is not used.
        ratio = positive / negative if negative else 0.0
        self.register_buffer("rows", rows)
        self.register_buffer("outputs", self.codes.new_zeros(len(rows), self.codes.shape[1]))
        fresh = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        self.register_buffer("fresh", fresh, persistent=False)
        self.register_buffer("ratio", sums.new_tensor(ratio))
        # Rows of S B, and sums of squares of the rows of S, both by group.
        self.register_buffer("targets", (1 + ratio) * similar[:, 1:] - ratio * sums.sum(0))
        self.register_buffer("target_norms", sizes + ratio**2 * (number - sizes))
        self.register_buffer("code_gram", gram(self.codes))
        self.position.fill_(-1)
        self.position[rows] = torch.arange(len(rows), device=rows.device)

    def loss(self, output: "HashOutput", labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The terms "hash" and "quantisation"; also stores the outputs as U for the code update.

        Computed in float64, since each of the three terms of the expanded square is about N times
        larger than their sum.
        """
        groups = self._begun_groups()
        self._store_outputs(output.codes.detach(), rows)
        length = self.codes.shape[1]
        group = groups.index[rows]
        codes = output.codes.double()
        square = (
            length**2 * self.target_norms[group].sum()
            - 2 * length * (codes * self.targets[group]).sum()
            + ((codes @ self.code_gram) * codes).sum()
        )
        distance = (codes - self.codes[rows].double()).square().sum()
        scale = self._loss_scale(len(rows))
        return {
            "hash": scale * self.beta * square,
            "quantisation": scale * self.gamma * distance,
        }

    def share(self, images: int, batch: int) -> float | None:
        """The loss is a mean over images, or a sum if it is not normalised."""
        return images / batch if self.normalise else 1.0

    @torch.no_grad()
    def exchange(self, total: Callable[[Tensor], Tensor]) -> None:
        """Replace each output by that of the process that computed it since the last exchange."""
        mine = self.outputs.where(self.fresh[:, None], 0.0)
        found = total(torch.cat([mine, self.fresh[:, None].to(mine.dtype)], 1))
        self.outputs.copy_(found[:, :-1].where(found[:, -1:] > 0, self.outputs))
        self.fresh.fill_(False)

    @torch.no_grad()
    def end_iteration(self) -> None:
        """One sweep of discrete cyclic coordinate descent (DCC) over the k bits: O(N k^2).

        Q = beta k S^T U + gamma Ubar; B[:, b] = sign(Q[:, b] - beta B_-b (U^T U)_-b,b), where the
        earlier bits are already updated and sign(0) = +1. Each bit's update is the exact minimum.
        The rows of B are independent, so that they are processed in chunks.
        """
        groups = self._begun_groups()
        length = self.codes.shape[1]
        sums = group_sums(self.outputs, groups.index[self.rows], len(groups))
        ratio = float(self.ratio)
        wanted = (1 + ratio) * groups.sum_similar(sums) - ratio * sums.sum(0)
        wanted *= self.beta * length
        mixing = self.beta * gram(self.outputs)
        mixing.fill_diagonal_(0)
        for start in range(0, len(self.codes), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            target = wanted[groups.index[chunk]]
            position = self.position[chunk]
            sampled = (position >= 0).nonzero()[:, 0]
            target[sampled] += self.gamma * self.outputs[position[sampled]].double()
            self.codes[chunk] = _coordinate_descent(target, mixing, self.codes[chunk]).to(
                self.codes.dtype
            )
        self.updates += 1

    @property
    def learned_codes(self) -> Tensor | None:
        return self.codes if self.groups is not None and int(self.updates) > 0 else None

    def _loss_scale(self, batch: int) -> float:
        if not self.normalise:
            return 1.0
        number, length = self.codes.shape
        factor = 1.0 if self.reference_length is None else self.reference_length / length
        return factor / (batch * number)

    def _store_outputs(self, codes: Tensor, rows: Tensor) -> None:
        position = self.position[rows]
        # On a GPU this check would synchronise with the host at every batch.
        if not position.is_cuda and bool((position < 0).any()):
            raise ValueError("rows must be among those given to start_iteration")
        self.outputs[position] = codes.to(self.outputs.dtype)
        self.fresh[position] = True

    def _begun_groups(self) -> Groups:
        if self.groups is None:
            raise RuntimeError(f"{type(self).__name__}: call begin(labels, ...) first")
        if self.groups.index.device != self.codes.device:
            self.groups.to(self.codes.device)
        return self.groups

    def _checked_rows(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.codes.device)
        number = len(self.codes)
        if rows.ndim != 1 or rows.dtype != torch.int64 or len(rows) == 0:
            raise ValueError(
                f"rows must be int64 (n,) with n >= 1, got {rows.dtype} {tuple(rows.shape)}"
            )
        if int(rows.min()) < 0 or int(rows.max()) >= number:
            raise ValueError(f"rows must lie in 0..{number - 1}, the images given to begin")
        if len(torch.unique(rows)) != len(rows):
            raise ValueError("rows must be distinct")
        return rows


def _coordinate_descent(target: Tensor, mixing: Tensor, codes: Tensor) -> Tensor:
    """One sweep over the bits of some rows, see `end_iteration`.

    Works on the transpose, in which each bit of all rows is contiguous.

    Args:
        target: Q, float64 (M, k).
        mixing: beta U^T U with a zero diagonal, float64 (k, k).
        codes: codes before the sweep, (M, k).

    Returns:
        the new codes, float64 (M, k) of -1 and +1.
    """
    wanted, bits = target.T.contiguous(), codes.T.double().contiguous()
    for bit in range(len(bits)):
        value = wanted[bit] - mixing[bit] @ bits
        bits[bit] = torch.where(value >= 0, 1.0, -1.0)
    return bits.T
