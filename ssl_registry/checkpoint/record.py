"""What a checkpoint records of its origin: typed, and upgraded where an older version wrote it.

The record is plain values beside Lightning's own entries. It names the method and the distribution, never an import
path that reopening would follow. A new field is a field of `Record` or `BackboneRecord`, with a default for the
checkpoints that do not have it; a field that is renamed or means something else is a new `FORMAT` with a step in
`UPGRADES`.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from packaging.version import InvalidVersion, Version
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_serializer,
    model_validator,
)

from ssl_registry._system.plain import first_problem, plain
from ssl_registry._version import __version__
from ssl_registry.errors import CheckpointError
from ssl_registry.views import ImageView, ViewPolicy

if TYPE_CHECKING:
    from ssl_registry.discovery.entry_points import MethodInfo

__all__ = [
    "FORMAT",
    "RECORD_KEY",
    "BackboneRecord",
    "Record",
    "bounded_views",
    "check_method",
    "read_record",
    "upgrade",
]

RECORD_KEY = "ssl_registry"
FORMAT: Final = 2

# A record is built before anything of it is compared with the weights beside it, so what it may ask for has limits:
# values of one sample (a scene of 13 bands and 2,200 x 2,200 pixels has 63 million), views, and pixels of their sides.
MOST_VALUES = 2**26
MOST_VIEWS = 1000
LARGEST_SIDE = 2**14


def _identifiers(arguments: dict[str, Any]) -> dict[str, Any]:
    for name in arguments:
        if not (isinstance(name, str) and name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
            raise ValueError(f"{name!r} is no name of an argument")
    return arguments


def _sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > MOST_VALUES:
        raise ValueError(f"{shape} is larger than any sample")
    return shape


def bounded_views(policy: ViewPolicy) -> ViewPolicy:
    """Return a policy as a file has it, if it asks for what a method could draw.

    Raises:
        ValueError: if it asks for more or larger views.
    """
    sides = [policy.image_size or 0, *(view.size or 0 for view in policy.views if isinstance(view, ImageView))]
    if policy.num_views > MOST_VIEWS or max(sides) > LARGEST_SIDE:
        raise ValueError("it asks for more or larger views than any method draws")
    return policy


Arguments = Annotated[dict[str, Any], BeforeValidator(plain), AfterValidator(_identifiers)]
Side = Annotated[StrictInt, Field(ge=1)]
SampleShape = Annotated[tuple[Side, ...], Field(min_length=1, max_length=3), AfterValidator(_sample)]


class BackboneRecord(BaseModel):
    """What rebuilds a backbone, without its weights.

    Args:
        name: of timm's, or of the core's encoders; None for a module that its own process built.
        class_name: of such a module, for a person to read. It is never imported.
        input_shape: of one sample.
        low_resolution: whether it has the low-resolution stem.
        pooling: how a dense output becomes a vector.
        kwargs: further arguments of the backbone; where weights were read from is not among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StrictStr | None
    class_name: StrictStr | None = None
    input_shape: SampleShape
    low_resolution: StrictBool = False
    pooling: Literal["avg", "flatten"] = "avg"
    kwargs: Arguments = Field(default_factory=dict)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name is None and self.class_name is None:
            raise ValueError("it has neither a name nor a class")
        return self

    @property
    def title(self) -> str:
        """Its name, or its class's."""
        return self.name or self.class_name or "a module"


class Record(BaseModel):
    """What a checkpoint says of its model.

    Args:
        format: of the record; what `read_record` returns has the newest.
        core_version: of ssl-registry that wrote it.
        method: its name.
        distribution: that provides it; None for a method that was registered in its own process.
        version: of the distribution.
        config: the method's options.
        backbone: what rebuilds the backbone.
        view_policy: how views are drawn.
        overridden: heads that the user gave as modules, by name.
        num_samples: of the training source; None where it is not known.
        product: name of the network that is evaluated and exported: ``backbone``, or a part of a head.
        seed: of every random draw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = FORMAT
    core_version: StrictStr = __version__
    method: StrictStr
    # It stands in a command that a message names.
    distribution: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None
    version: StrictStr
    config: Annotated[dict[str, Any], BeforeValidator(plain)]
    backbone: BackboneRecord
    view_policy: Annotated[ViewPolicy, AfterValidator(bounded_views)]
    overridden: tuple[StrictStr, ...] = ()
    num_samples: Annotated[StrictInt, Field(ge=1)] | None = None
    product: StrictStr = "backbone"
    # What torch's generators take as a seed.
    seed: Annotated[StrictInt, Field(ge=-(2**63), lt=2**64)]

    @field_serializer("view_policy")
    def _plain_policy(self, policy: ViewPolicy) -> dict[str, Any]:
        plain_policy: dict[str, Any] = policy.model_dump(mode="json")
        return plain_policy

    @property
    def qualified(self) -> str:
        """``distribution:method``, or the method's name alone."""
        return f"{self.distribution}:{self.method}" if self.distribution else self.method


def read_record(checkpoint: Mapping[str, Any]) -> Record:
    """Return a checkpoint's record, in the newest format.

    Args:
        checkpoint: as `torch.load` gives it.

    Raises:
        CheckpointError: if it has none, one of a newer format, or a damaged one.
    """
    found = checkpoint.get(RECORD_KEY)
    if not isinstance(found, dict):
        raise CheckpointError("the checkpoint was not written by ssl-registry: it has no record of its method")
    try:
        return Record.model_validate(upgrade(plain(found)))
    except ValidationError as error:
        version = found.get("core_version")
        if any(problem["type"] == "extra_forbidden" for problem in error.errors()) and _is_newer(version):
            raise CheckpointError(
                f"the checkpoint was written by ssl-registry {version}, which records more than {__version__} "
                "knows: pip install --upgrade ssl-registry"
            ) from None
        fact = first_problem(error)
        raise CheckpointError(f"the checkpoint's record is damaged: {fact}; use another one") from None
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's record is damaged: {error}; use another one") from None


def _is_newer(version: Any) -> bool:
    try:
        return Version(version) > Version(__version__)
    except (TypeError, InvalidVersion):
        return False


def check_method(record: Record, info: MethodInfo) -> None:
    """Refuse to go on with another method's checkpoint.

    Raises:
        CheckpointError: saying whose it is.
    """
    if record.method != info.name:
        raise CheckpointError(f"the checkpoint holds {record.method!r}, it cannot go on as {info.name!r}")


def upgrade(values: dict[str, Any]) -> dict[str, Any]:
    """Bring a record of an older format to the newest one, step by step.

    Args:
        values: of the record, as the file has them.

    Raises:
        CheckpointError: if this version does not know the format.

    Example:
        >>> upgrade({"format": 1, "recipe": {"views": []}, "backbone": {"name": None, "class": "net.Tiny"}})
        {'format': 2, 'backbone': {'name': None, 'class_name': 'net.Tiny'}, 'view_policy': {'views': []}}
    """
    while (found := values.get("format")) != FORMAT:
        step = UPGRADES.get(found) if isinstance(found, int) else None
        if step is None:
            raise CheckpointError(
                f"the checkpoint has format {str(found)[:40]}, written by ssl-registry "
                f"{str(values.get('core_version'))[:40]}; this is {__version__}, which reads format {FORMAT} and older "
                "ones: pip install --upgrade ssl-registry"
            )
        values = step(values)
    return values


def _recipe_becomes_view_policy(values: dict[str, Any]) -> dict[str, Any]:
    """Format 1, of the months before the first release: views were a recipe, in other spellings."""
    values = {**values, "format": 2}
    policy = values.pop("recipe", None)
    if isinstance(policy, dict):
        policy = _renamed(policy, {"standardised": "standardized"})
        if isinstance(policy.get("views"), list | tuple):
            policy["views"] = [_renamed_view(view) for view in policy["views"]]
    values["view_policy"] = policy
    if isinstance(values.get("backbone"), dict):
        values["backbone"] = _renamed(values["backbone"], {"class": "class_name"})
    return values


def _renamed_view(view: Any) -> Any:
    if not isinstance(view, dict):
        return view
    view = _renamed(view, {"kind": "modality"})
    # A signal's jitter is noise, and keeps its name.
    return view if view.get("modality") != "image" else _renamed(view, {"jitter": "color_jitter", "grey": "grayscale"})


def _renamed(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in values.items()}


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _recipe_becomes_view_policy}
