"""`MethodConfig`: what every method can be told, checked where it is said.

A method declares its own options as fields of a subclass; pydantic checks type and range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["Field", "MethodConfig"]

# timm's "sgd" is Nesterov's with a momentum of 0.9, and its RMSprop differs as much; a class means torch's defaults.
DEFAULTS_OF_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("momentum", {"momentum": 0.0}),
    "RMSprop": ("rmsprop", {"momentum": 0.0, "alpha": 0.99}),
}


class MethodConfig(BaseModel):
    """Options that the core honours for every method. Subclass it, and give each field a default.

    A config is immutable, survives JSON and YAML unchanged, and refuses unknown keys.

    Args:
        learning_rate: peak learning rate of the optimizer.
        weight_decay: decoupled or L2, as the optimizer defines it; never applied to biases and norms.
        optimizer: a name that timm knows (``adamw``, ``sgd``, ``lars``, ...), with timm's defaults (``sgd`` is
            Nesterov's with a momentum of 0.9), or a class of torch.optim, with torch's.
        optimizer_kwargs: further arguments of the optimizer, such as ``{"momentum": 0.9}``.
        lr_schedule: ``constant``, or ``cosine`` to zero over the run; stepped once per optimizer step.
        warmup_steps: optimizer steps of linear warm-up from zero before the schedule begins.

    Example:
        >>> class Config(MethodConfig):
        ...     temperature: float = Field(0.5, gt=0, description="Softmax temperature.")
        >>> Config(learning_rate=0.3).learning_rate
        0.3
    """

    # Names that start with "model_" belong to pydantic's own API, so `protected_namespaces` stays on.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay; biases and norms are excluded.")
    optimizer: str = Field("adamw", min_length=1, description="A timm optimizer name: adamw, sgd, lars, ...")
    optimizer_kwargs: dict[str, Any] = Field(default_factory=dict, description="Further optimizer arguments.")
    lr_schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate over the run's optimizer steps."
    )
    warmup_steps: int = Field(0, ge=0, description="Optimizer steps of linear warm-up.")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_classes(cls, options: Any) -> Any:
        """Name those classes of torch.optim that have other defaults than timm gives to their names."""
        found = options.get("optimizer") if isinstance(options, dict) else None
        if not (isinstance(found, type) and found.__module__.startswith("torch.optim")):
            return options
        given = options.get("optimizer_kwargs", {})
        if found.__name__ not in DEFAULTS_OF_CLASSES or not isinstance(given, Mapping):
            return options
        name, defaults = DEFAULTS_OF_CLASSES[found.__name__]
        return {**options, "optimizer": name, "optimizer_kwargs": {**defaults, **given}}

    @field_validator("optimizer", mode="before")
    @classmethod
    def _optimizer_name(cls, value: object) -> object:
        """Accept the classes of torch.optim too; a config holds their name."""
        if isinstance(value, type):
            if not value.__module__.startswith("torch.optim"):
                raise ValueError(
                    f"{value.__qualname__} is not a class of torch.optim; give a name that timm knows, "
                    "and register your own class there first"
                )
            return value.__name__.lower()
        return value
