"""The cases of `attention.py` and their engines, with a reimplementation of the released code."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import semicon_fast as sf
from semicon_fast import ops
from semicon_fast.models.backbones import global_average_pool, multiply_maps, shared_convolutions

Output = Tensor | tuple[Tensor, ...]
Engine = Callable[[], Output]
Built = tuple[dict[str, Engine], Engine, int]
ALPHA, DELTA = 0.15, 1e-5


class ReleasedICON(nn.Module):
    """The released channel attention, with the parameter names of `sf.ICON`."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.heads, self.tokens = num_heads, dim // num_heads
        self.norm = nn.BatchNorm2d(dim)
        self.relu = nn.ReLU(inplace=True)
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, groups=num_heads)
        self.qkv2 = nn.Conv2d(dim, 3 * dim, 1, groups=self.tokens)

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        y = _attended(self.qkv(x), self.heads).reshape(shape) + x
        y = y.reshape(shape[0], self.heads, self.tokens, *shape[2:]).transpose(1, 2)
        y = self.norm(y.reshape(shape))
        # The ReLU works in place, so the residual below is rectified too.
        x = self.relu(y)
        return _attended(self.qkv2(x), self.tokens).transpose(1, 2).reshape(shape) + y


def _attended(projected: Tensor, heads: int) -> Tensor:
    images, channels, height, width = projected.shape
    tokens = channels // 3 // heads
    stacked = projected.reshape(images, 3, heads, tokens, height * width)
    q, k, v = stacked.transpose(0, 1).unbind(0)
    logits = q @ k.transpose(-2, -1) * tokens**-0.5
    logits = torch.sign(logits) * torch.sqrt(torch.abs(logits) + DELTA)
    return logits.softmax(-1) @ v


def released_mask(guidance: Tensor, score: Tensor) -> Tensor:
    """The released mask (standard deviation over the whole batch) times the guidance."""
    with torch.no_grad():
        a = torch.softmax(score.flatten(1), 1).view(score.shape)
        mask = 2 - torch.clamp((a - a.mean()) / a.std() ** ALPHA + 1, 0, 2)
    return mask * guidance


class ReleasedNetwork(nn.Module):
    """The official variant of `SEMICON` as released: eager masks, a loop over the parts."""

    def __init__(self, model: sf.SEMICON) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        for stage in (self.model.refine_global, self.model.refine_local):
            for name, block in stage.layer4.named_children():
                if isinstance(block, sf.ICON):
                    own = ReleasedICON(block.dim, block.num_heads)
                    own.load_state_dict(block.state_dict())
                    stage.layer4.add_module(name, own)

    def forward(self, images: Tensor) -> Tensor:
        model = self.model
        trunk = model.backbone(images)
        maps = released_maps(model.attention, model.attention.layer4(trunk))
        stages = [model.refine_global(trunk)]
        stages += [model.refine_local(score * trunk) for score in maps]
        weights = [model.W_G, *(model.get_parameter(f"W_L{i + 1}") for i in range(model.parts))]
        codes = [F.linear(global_average_pool(x), w) for x, w in zip(stages, weights, strict=True)]
        return torch.tanh(torch.cat(codes, dim=1))


def released_maps(attention: sf.SEM, guidance: Tensor) -> list[Tensor]:
    maps: list[Tensor] = []
    for i in range(attention.parts):
        if maps:
            guidance = released_mask(guidance, maps[-1])
        maps.append(F.relu(attention.get_submodule(f"feature{i + 1}")(guidance)))
    return maps


@dataclass(frozen=True)
class Case:
    """A measurement. `build` returns its engines, the released one first; the released one in
    float64; and the bytes that must be read from and written to memory (0: not evaluated)."""

    name: str
    what: Callable[["Case"], Built]
    batch: int = 16
    size: int = 7
    backward: bool = False
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    compiled: bool = False

    def __str__(self) -> str:
        return f"{self.name}, batch {self.batch}, {str(self.dtype).removeprefix('torch.')}"

    def build(self) -> Built:
        return self.what(self)

    def small(self) -> "Case":
        return replace(self, batch=2, size=min(self.size, 64))

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, device=self.device, dtype=self.dtype)

    def engine(self, module: Callable[..., Any], *given: Tensor) -> Engine:
        """A call, with its gradients if `backward`; returns the output."""
        parameters = list(module.parameters()) if isinstance(module, nn.Module) else []

        def forward() -> Output:
            with torch.no_grad():
                return module(*given)

        def both() -> Output:
            for tensor in (*parameters, *given):
                tensor.grad = None
            out = module(*given)
            out.backward(torch.ones_like(out))
            return out.detach(), *(t.grad for t in given if t.grad is not None)

        if self.backward:
            given = tuple(t.clone().requires_grad_() for t in given)
        return both if self.backward else forward

    def truth(self, module: Callable[..., Any], *given: Tensor) -> Engine:
        """A call of a copy of the module, or of a function, in float64."""
        if isinstance(module, nn.Module):
            module = copy.deepcopy(module).double()
        return self.engine(module, *(t.double() for t in given))


def icon(case: Case) -> Built:
    dim, heads = 2048, 32
    released = ReleasedICON(dim, heads).to(case.device, case.dtype).train(case.backward)
    own = sf.ICON(dim, heads, variant="official").to(case.device, case.dtype)
    own.load_state_dict(released.state_dict())
    own.train(case.backward)
    x = case.draw(case.batch, dim, case.size, case.size)
    engines = {"released": case.engine(released, x)}
    if case.compiled:
        engines["released, compiled"] = case.engine(torch.compile(copy.deepcopy(released)), x)
    engines["semicon_fast"] = case.engine(own, x)
    # Each step reads a map and its weights and writes a map; backward reads two and writes one.
    maps = 2 * (5 if case.backward else 2) * x.nbytes
    weights = (own.qkv.weight.nbytes + own.qkv2.weight.nbytes) * (3 if case.backward else 1)
    return engines, case.truth(released, x), maps + weights


def mask(case: Case) -> Built:
    guidance, score = (case.draw(case.batch, c, case.size, case.size) for c in (64, 1))

    def own(guidance: Tensor, score: Tensor) -> Tensor:
        return ops.sem_mask(guidance, score, ALPHA, per_batch=True, clamp=True, detach=True)

    engines = {"released": case.engine(released_mask, guidance, score)}
    if case.compiled:
        engines["released, compiled"] = case.engine(torch.compile(released_mask), guidance, score)
    engines["semicon_fast"] = case.engine(own, guidance, score)
    truth = case.truth(released_mask, guidance, score)
    return engines, truth, (4 if case.backward else 2) * guidance.nbytes


class ReleasedMaps(nn.Module):
    """The three maps from the guidance P_1, as released: all 64 channels are masked each time."""

    def __init__(self, attention: sf.SEM) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, guidance: Tensor) -> Tensor:
        return torch.cat(released_maps(self.attention, guidance), dim=1)


def from_guidance(attention: sf.SEM) -> sf.SEM:
    """A copy of the layer whose input is the guidance instead of features."""
    attention = copy.deepcopy(attention)
    attention.layer4 = nn.Identity()
    return attention


def maps(case: Case) -> Built:
    attention = from_guidance(_network(case).attention).train(case.backward)
    released = ReleasedMaps(copy.deepcopy(attention))
    guidance = case.draw(case.batch, 64, case.size, case.size)
    engines = {
        "released": case.engine(released, guidance),
        "semicon_fast": case.engine(attention, guidance),
    }
    return engines, case.truth(released, guidance), 0


class ReleasedStage(nn.Module):
    """From P_1 and T to the first 1x1 convolutions of M_i * T, for three maps, as released."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.attention, self.first = from_guidance(model.attention), model.refine_local.layer4[0]

    def forward(self, guidance: Tensor, trunk: Tensor) -> tuple[Tensor, ...]:
        products = [score * trunk for score in released_maps(self.attention, guidance)]
        inner = [self.first.conv1(product) for product in products]
        return *inner, *(self.first.downsample[0](product) for product in products)


def stage(case: Case) -> Built:
    released = ReleasedStage(_network(case))
    attention, first = released.attention, released.first
    guidance, trunk = (case.draw(case.batch, c, case.size, case.size) for c in (64, 1024))

    def own(guidance: Tensor, trunk: Tensor) -> tuple[Tensor, ...]:
        maps = attention(guidance)
        inner, skip = shared_convolutions(first, trunk)
        scaled = multiply_maps(maps, inner), multiply_maps(maps[:, :, ::2, ::2], skip)
        return tuple(t for s in scaled for t in s.unflatten(0, (-1, attention.parts)).unbind(1))

    engines = {
        "released": case.engine(released, guidance, trunk),
        "semicon_fast": case.engine(own, guidance, trunk),
    }
    return engines, case.truth(released, guidance, trunk), 0


def network(case: Case) -> Built:
    model = _network(case)
    released = ReleasedNetwork(model).eval()
    images = case.draw(case.batch, 3, case.size, case.size)
    last = images.to(memory_format=torch.channels_last)

    def own(images: Tensor) -> Tensor:
        codes: Tensor = model(images).codes
        return codes

    engines = {
        "released": case.engine(released, images),
        "semicon_fast": case.engine(own, images),
    }
    if case.device != "cpu":  # on the CPU, evaluation chooses its own memory layout
        engines["semicon_fast, channels_last"] = case.engine(own, last)
    return engines, case.truth(released, images), 0


def _network(case: Case) -> Any:
    """ResNet-50 at 48 bits, with a bias that keeps the attention maps from being all 0."""
    model = sf.SEMICON(48, variant="official").eval()
    for i in range(model.parts):
        model.attention.get_submodule(f"feature{i + 1}")[1].bias.data.fill_(0.5)
    return model.to(case.device, case.dtype)


CASES = [
    Case("ICON, 2048 x 7 x 7", icon),
    Case("ICON, 2048 x 7 x 7, with gradients", icon, backward=True),
    Case("SEM mask, 64 x 14 x 14", mask, size=14),
    Case("SEM mask, 64 x 14 x 14, with gradients", mask, size=14, backward=True),
    Case("SEM maps, 64 x 14 x 14 to three", maps, size=14),
    Case("SEM maps, 64 x 14 x 14 to three, with gradients", maps, size=14, backward=True),
    Case("SEM stage, P and T to M T", stage, size=14),
    Case("SEMICON, ResNet-50, 224 pixels", network, size=224),
]


def cuda_cases(device: str) -> list[Case]:
    """All cases in two dtypes at three batch sizes, the middle one last. ICON and the mask are
    compiled too, but not there: compiling takes longer than all the rest."""
    return [
        replace(case, batch=batch, dtype=dtype, device=device, compiled=batch != 64)
        for batch in (16, 256, 64)
        for dtype in (torch.float32, torch.bfloat16)
        for case in CASES
    ]
