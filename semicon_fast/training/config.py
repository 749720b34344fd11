"""Everything a run depends on, typed; JSON out and in again without a change."""

import difflib
import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

Triple = tuple[float, float, float]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Which images, and how they reach the network."""

    name: str
    root: str | None = None
    """Folder of the data set; None for generated ones."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the data set's loader."""
    image_size: int = Field(default=224, ge=1)
    transform: Literal["imagenet", "mild", "small", "plain"] = "imagenet"
    augment: bool = True
    """False: training images take the query transform (ADSH)."""
    mean: Triple | None = None
    std: Triple | None = None
    """Of each channel on a scale of 0 to 1; None for ImageNet's."""
    cache: bool = False
    """Keep decoded images in memory, reduced to cache_size on the shorter side if given."""
    cache_size: int | None = Field(default=None, ge=1)
    on_broken: Literal["error", "skip"] = "error"


class ModelConfig(Section):
    """Which network. start: a .safetensors file of this network, of this or a shorter code."""

    network: str
    code_length: int = Field(ge=1, le=4096)
    options: dict[str, Any] = Field(default_factory=dict)
    start: str | None = None


class MethodConfig(Section):
    """Which loss and code update."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class OptimizerConfig(Section):
    """momentum is that of SGD and RMSprop; Adam and AdamW keep betas (0.9, 0.999)."""

    name: Literal["sgd", "adamw", "adam", "rmsprop"] = "sgd"
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)


class ScheduleConfig(Section):
    """Outer iterations; in each `samples` images are drawn (None: all) and seen `epochs` times."""

    iterations: int = Field(ge=1)
    epochs: int = Field(default=1, ge=1)
    samples: int | None = Field(default=None, ge=1)
    batch_size: int = Field(ge=1)
    lr: Literal["constant", "step", "onecycle"] = "constant"
    milestones: tuple[int, ...] = ()
    """"step": outer iterations (counted from 0) from which on lr is multiplied by factor."""
    factor: float = Field(default=0.1, gt=0)
    rise: float = Field(default=0.25, gt=0, lt=1)
    """"onecycle": the share of all steps in which lr rises."""

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)) or (value and value[0] < 0):
            raise ValueError("must be ascending numbers of iterations, 0 or more")
        return value


class SelectionConfig(Section):
    """Which model is kept.

    mode: "holdout" keeps the best on a stratified fraction of the training images that the network
    never learns from; "test" keeps the best on the query set, as the papers did, and says so in
    log and result; "last" keeps the last. every: outer iterations between evaluations.
    batch_size: images encoded at a time.
    """

    mode: Literal["holdout", "test", "last"] = "holdout"
    fraction: float = Field(default=0.1, gt=0, lt=1)
    every: int = Field(default=1, ge=1)
    batch_size: int = Field(default=64, ge=1)


class RunConfig(Section):
    """How it is run. workers, threads, device, tensorboard may change when a run is resumed."""

    seed: int = Field(default=68, ge=0, lt=2**63)
    workers: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the network in training, by autocast; losses and code updates are always float32 or
    more, evaluation is always float32."""
    channels_last: bool = False
    batch_norm: Literal["process", "global"] = "process"
    """Images that BatchNorm's statistics are taken over, of several processes: those that the
    process has of a batch, or the whole batch, as one process would."""
    compile: bool = False
    """torch.compile of the network, with CUDA graphs on a device."""
    checkpoint_every: Literal["iteration", "epoch"] = "epoch"
    tensorboard: bool = False
    """Draw the log's figures in OUTPUT/tensorboard too."""


class Config(Section):
    """A whole run."""

    data: DataConfig
    model: ModelConfig
    method: MethodConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    selection: SelectionConfig = SelectionConfig()
    run: RunConfig = RunConfig()

    @classmethod
    def model_validate_json(cls, *args: Any, **kwargs: Any) -> "Config":
        """Raises ValueError with one sentence that names the keys."""
        try:
            return super().model_validate_json(*args, **kwargs)
        except ValidationError as error:
            raise ValueError(sentence(error)) from None

    def override(self, settings: Sequence[str]) -> "Config":
        """A copy with "section.key=value" settings; values are JSON, or text where JSON fails.

        Raises ValueError for an unknown key (with the nearest known ones) or a bad value.
        """
        config = self
        for setting in settings:
            config = config._with(setting)
        return config

    def _with(self, setting: str) -> "Config":
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"a setting must be section.key=value, got {setting!r}")
        path = key.strip().split(".")
        failure: ValidationError | None = None
        # A root named "12" is text, a size of 12 a number: whatever the field takes, number first.
        for value in _readings(text.strip()):
            content = self.model_dump(mode="json")
            _put(content, path, value)
            try:
                return Config.model_validate(content)
            except ValidationError as error:
                failure = failure or error
        assert failure is not None
        raise ValueError(f"{setting}: {sentence(failure)}") from None


def _readings(text: str) -> list[Any]:
    if text.lower() in ("none", "null"):
        return [None]
    try:
        return [json.loads(text), text]
    except json.JSONDecodeError:
        return [{"true": True, "false": False}.get(text.lower(), text)]


def _put(content: dict[str, Any], path: list[str], value: Any) -> None:
    """content[path] = value; the keys of `options` are free, all others must exist."""
    where = content
    for depth, name in enumerate(path):
        free = "options" in path[:depth]
        if not isinstance(where, dict) or (name not in where and not free):
            known = list(where) if isinstance(where, dict) else []
            raise ValueError(_unknown(".".join(path), path[:depth], name, known))
        if depth == len(path) - 1:
            if isinstance(where.get(name), dict) and not isinstance(value, dict):
                inside = ", ".join(where[name]) or "any key"
                raise ValueError(f"{'.'.join(path)} is a section, set one of its keys: {inside}")
            where[name] = value
        else:
            where = where.setdefault(name, {}) if free else where[name]


def _unknown(key: str, above: list[str], name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {'.'.join([*above, near[0]])}?" if near else ""
    place = ".".join(above) if above else "the configuration"
    return f"unknown setting {key}: {place} has {', '.join(known) or 'no keys'}{hint}"


def sentence(error: ValidationError) -> str:
    """All that pydantic found wrong, in one sentence with the names of the keys."""
    found = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "the configuration"
        if item["type"] == "extra_forbidden":
            found.append(f"{key} is not a setting")
        elif item["type"] == "missing":
            found.append(f"{key} is missing")
        else:
            reason = item["msg"][:1].lower() + item["msg"][1:]
            found.append(f"{key}: {reason}, got {item['input']!r}")
    return "; ".join(found)


def differences(one: Config, other: Config) -> list[str]:
    """Keys ("section.key") whose values differ."""
    a, b = one.model_dump(mode="json"), other.model_dump(mode="json")
    return [f"{s}.{key}" for s in a for key in a[s] if a[s][key] != b[s][key]]
