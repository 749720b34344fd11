"""The configuration of a run: typed sections that serialise to JSON and back without loss."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

Triple = tuple[float, float, float]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """The dataset, its transform and caching."""

    name: str
    root: str | None = None
    """Folder of the dataset; None for generated ones."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the dataset's loader."""
    image_size: int = Field(default=224, ge=1)
    transform: Literal["imagenet", "mild", "crop", "small", "strong", "plain"] = "imagenet"
    augment: bool = True
    """False: training images use the query transform (ADSH)."""
    mean: Triple | None = None
    std: Triple | None = None
    """Mean and standard deviation of each channel in units of 0..1; None: those of ImageNet."""
    cache: bool = False
    """Keep decoded images in memory, with the shorter side reduced to cache_size if given."""
    cache_size: int | None = Field(default=None, ge=1)
    on_broken: Literal["error", "skip"] = "error"


class ModelConfig(Section):
    """The network.

    start: a .safetensors file of the same type of network to initialise from, with the same code
    length or, for networks with `extend`, a shorter one.
    """

    network: str
    code_length: int = Field(ge=1, le=4096)
    options: dict[str, Any] = Field(default_factory=dict)
    start: str | None = None


class MethodConfig(Section):
    """The learning method, see `methods.METHODS`."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class OptimizerConfig(Section):
    """The optimiser. momentum applies to SGD and RMSprop; Adam and AdamW use betas (0.9, 0.999)."""

    name: Literal["sgd", "adamw", "adam", "rmsprop"] = "sgd"
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)


class ScheduleConfig(Section):
    """Length of the training and learning-rate schedule.

    There are `iterations` outer iterations. Each draws `samples` training images (None: all) and
    trains on them for `epochs` epochs.
    """

    iterations: int = Field(ge=1)
    epochs: int = Field(default=1, ge=1)
    samples: int | None = Field(default=None, ge=1)
    batch_size: int = Field(ge=1)
    lr: Literal["constant", "step", "onecycle", "cosine"] = "constant"
    """For "cosine", lr falls to a thousandth of it over all steps (of each stage)."""
    milestones: tuple[int, ...] = ()
    """For "step": outer iterations (from 0) at which lr is multiplied by factor."""
    factor: float = Field(default=0.1, gt=0)
    rise: float = Field(default=0.25, gt=0, lt=1)
    """For "onecycle": the fraction of the steps (of each stage) in which lr rises."""

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)) or (value and value[0] < 0):
            raise ValueError("must be ascending numbers of iterations, 0 or more")
        return value


class ClassifierConfig(Section):
    """The first stage of a method that begins by training the network as a classifier (shc)."""

    optimizer: OptimizerConfig
    lr: Literal["constant", "step", "onecycle", "cosine"] = "constant"
    """As schedule.lr, whose other settings apply; "onecycle", "cosine": over this stage."""


class SelectionConfig(Section):
    """Model selection: which model of a run is kept.

    mode: "holdout" keeps the best model on a stratified fraction of the training images, which are
    excluded from training; "test" keeps the best on the query set, as the papers did, and says so
    in the log and the result; "last" keeps the last model.
    fraction: fraction of the training images held out. every: outer iterations between
    evaluations. batch_size: images per forward pass in evaluations.
    """

    mode: Literal["holdout", "test", "last"] = "holdout"
    fraction: float = Field(default=0.1, gt=0, lt=1)
    every: int = Field(default=1, ge=1)
    batch_size: int = Field(default=64, ge=1)


class RunConfig(Section):
    """Execution. workers, threads, device and tensorboard may change when a run is resumed."""

    seed: int = Field(default=68, ge=0, lt=2**63)
    workers: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network in training, by autocast; losses and code updates always have at
    least float32, evaluation always float32. An x86 CPU without AVX-512 emulates half precision,
    many times slower than fp32."""
    channels_last: bool = False
    batch_norm: Literal["process", "global"] = "process"
    """With several processes, whether BatchNorm's statistics are computed over the process's part
    of a batch ("process") or over the whole batch, as with one process ("global")."""
    compile: bool = False
    """Compile the network with torch.compile, on a GPU with CUDA graphs."""
    checkpoint_every: Literal["iteration", "epoch"] = "epoch"
    tensorboard: bool = False
    """Also write the log's metrics for TensorBoard to OUTPUT/tensorboard."""


class Config(Section):
    """The configuration of a run."""

    data: DataConfig
    model: ModelConfig
    method: MethodConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    classifier: ClassifierConfig | None = None
    """None: the first stage has the optimizer and schedule.lr of the others."""
    selection: SelectionConfig = SelectionConfig()
    run: RunConfig = RunConfig()

    @classmethod
    def model_validate_json(
        cls, json_data: str | bytes | bytearray, *args: Any, **kwargs: Any
    ) -> "Config":
        """Parse JSON. Raises ValueError with one sentence that names the wrong keys."""
        # Not pydantic's parser, which refuses the escapes of bytes in paths that are not UTF-8.
        try:
            return cls.model_validate(json.loads(json_data), *args, **kwargs)
        except ValidationError as error:
            raise ValueError(sentence(error)) from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"the configuration is not JSON: {error}") from None

    def model_dump_json(self, *, indent: int | None = None, **kwargs: Any) -> str:
        """The configuration as JSON of ASCII characters, whatever bytes its paths hold."""
        return json.dumps(self.model_dump(mode="json", **kwargs), indent=indent)

    @classmethod
    def read(cls, path: Path) -> "Config":
        """The configuration in a JSON file. Raises ValueError that names the file."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is no configuration of a run: {error}") from None

    def override(self, settings: Sequence[str]) -> "Config":
        """A copy with settings "section.key=value", whose values are parsed as JSON or else taken
        as text.

        Raises ValueError for an unknown key (with the nearest known ones) or an invalid value.
        """
        config = self
        for setting in settings:
            config = config._with_setting(setting)
        return config

    def _with_setting(self, setting: str) -> "Config":
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"a setting must be section.key=value, got {setting!r}")
        path = key.strip().split(".")
        failure: ValidationError | None = None
        # Try each reading until one is valid: a root called "12" is text, a size of 12 a number.
        for value in _possible_values(text.strip()):
            content = self.model_dump(mode="json")
            _assign(content, path, value)
            try:
                return Config.model_validate(content)
            except ValidationError as error:
                failure = failure or error
        assert failure is not None
        raise ValueError(f"{setting}: {sentence(failure)}") from None


def _possible_values(text: str) -> list[Any]:
    if text.lower() in ("none", "null"):
        return [None]
    try:
        return [json.loads(text), text]
    except json.JSONDecodeError:
        return [{"true": True, "false": False}.get(text.lower(), text)]


def _assign(content: dict[str, Any], path: list[str], value: Any) -> None:
    """content[path] = value. Keys must exist, except for those inside `options`."""
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
    """All of pydantic's validation errors in one sentence with the names of the keys."""
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
    """The keys ("section.key") whose values differ."""
    a, b = one.model_dump(mode="json"), other.model_dump(mode="json")
    # A section that is left out has no keys.
    pairs = {name: (a[name] or {}, b[name] or {}) for name in a}
    return [
        f"{name}.{key}"
        for name, (first, second) in pairs.items()
        for key in {**first, **second}
        if first.get(key) != second.get(key)
    ]
