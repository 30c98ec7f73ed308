"""What the small files of a run hold, typed: a run's folder may come from anywhere.

A verb gets its settings and results from here alone. What is shown as it stands (a report's table of options) is
plain values within a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError
from torch import nn

from ssl_registry._system.plain import first_problem, plain
from ssl_registry._system.small_files import read_json
from ssl_registry._system.trust import require_trust
from ssl_registry._system.yaml_files import read_yaml
from ssl_registry.errors import ConfigError
from ssl_registry.model.backbones import own_backbone
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.deeds import deeds_of_settings

__all__ = ["RunResults", "RunSettings", "read_provenance", "read_results", "read_settings"]

T = TypeVar("T")
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class RunSettings:
    """What a run's ``config.yaml`` holds.

    Args:
        path: of the file.
        method: that was trained; None where the file does not say.
        run: options of the run; ``data`` is None where the file names none.
        values: every option as the file has it, the method's and the Trainer's too.
    """

    path: Path
    method: str | None
    run: RunOptions
    values: Mapping[str, Any]

    @property
    def names_a_file(self) -> bool:
        """Whether the backbone is a network of the user's own, in a Python file."""
        return self.run.backbone is not None and ".py:" in self.run.backbone

    def build_backbone(self, seed: int, *, trust: bool) -> nn.Module:
        """Build the user's own network.

        Raises:
            TrustError: without trust: its file would be run.
        """
        self.require_trust("backbone", trust=trust)
        return own_backbone(self.run.backbone or "", self.run.backbone_kwargs, seed)

    def require_trust(self, option: str, *, trust: bool) -> None:
        """Stop before an option does more than be a value.

        Raises:
            TrustError: without trust.
        """
        found = [deed for deed in deeds_of_settings(self.values) if deed.option == option]
        require_trust(found, where=self.path, trust=trust)


class RunResults(BaseModel):
    """What a training found.

    Args:
        steps: optimizer steps.
        seconds: spent in fitting.
        knn, linear: accuracies in [0, 1], by features.
        held_out: samples that these were measured on.
        rank: effective rank of the features of the last batch that was looked at, and the most that it can be.
        neighbours: without labels, the share of samples whose second view was nearest to the first, before and after.
        guard: what the guards of collapse and divergence said.
        diverged: whether the weights were not finite at the end; what was measured is the last checkpoint.
        versions: of what trained it, by distribution.
        command: the words of the command line.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    steps: Annotated[StrictInt, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    knn: dict[str, float] = Field(default_factory=dict)
    linear: dict[str, float] = Field(default_factory=dict)
    held_out: Annotated[StrictInt, Field(ge=0)] = 0
    rank: tuple[Finite, Finite] | None = None
    neighbours: tuple[Finite, Finite] | None = None
    guard: StrictStr | None = None
    diverged: StrictBool = False
    versions: dict[str, StrictStr] = Field(default_factory=dict)
    command: tuple[StrictStr, ...] = ()


def read_settings(path: Path) -> RunSettings:
    """Read a run's ``config.yaml``.

    Raises:
        ConfigError: if it cannot be read, or is damaged.
    """

    def settings() -> RunSettings:
        values = {str(option): value for option, value in plain(read_yaml(path)).items()}
        # What belongs to one call, trust above all, is not for a file to say.
        kept = [name for name, field in RunOptions.model_fields.items() if not field.exclude]
        known = {name: values[name] for name in kept if name in values}
        method = TypeAdapter(StrictStr | None).validate_python(values.get("method"))
        return RunSettings(path, method, RunOptions.model_validate({"data": None, **known}), values)

    return _checked(path, settings)


def read_results(path: Path) -> RunResults:
    """Read a run's ``results.json``; empty while the run has not ended.

    Raises:
        ConfigError: if it cannot be read, or is damaged.
    """
    if not path.exists():
        return RunResults()
    return _checked(path, lambda: RunResults.model_validate(read_json(path)))


def read_provenance(path: Path) -> dict[str, str]:
    """Read a run's ``origins.json``; empty for a run that did not record it.

    Raises:
        ConfigError: if it cannot be read, or is damaged.
    """
    if not path.exists():
        return {}
    return _checked(path, lambda: TypeAdapter(dict[str, StrictStr]).validate_python(read_json(path)))


def _checked(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except ConfigError:
        raise
    except ValidationError as error:
        raise ConfigError(f"{path} is damaged: {first_problem(error)}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
