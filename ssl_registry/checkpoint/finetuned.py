"""What a fine-tuned network's file records of itself: one of safetensors, with a record in its header.

Tensors are ``backbone.*``, by the keys of the backbone's own state dict, and ``head.weight`` and ``head.bias`` of the
linear layer behind it. The record is plain values: the method that pretrained need not be installed to open the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    field_serializer,
    model_validator,
)
from safetensors import safe_open

from ssl_registry._system.plain import first_problem, plain
from ssl_registry._version import __version__
from ssl_registry.checkpoint.record import BackboneRecord, bounded_views
from ssl_registry.errors import CheckpointError
from ssl_registry.views import ViewPolicy

__all__ = ["BACKBONE", "HEAD", "FineTunedRecord", "read_finetuned_record"]

KEY = "ssl_registry_finetuned"
BACKBONE, HEAD = "backbone.", "head."
FORMAT: Final = 1


class FineTunedRecord(BaseModel):
    """What `ssl_registry.finetune` says of a network that it wrote.

    Args:
        format: of the record.
        core_version: of ssl-registry that wrote it.
        method, distribution, version: what pretrained the backbone, and what provides it.
        backbone: what rebuilds the backbone.
        view_policy: how samples are prepared: size, mean and standard deviation, of tables their columns.
        classes: their names, in the order of the head's outputs.
        labels: share of each class's labels that it was trained on; above 1, how many of each class.
        data: of the samples, by the names of a run's options: the source, the column of the labels, what is held out.
        seed: of the run's random weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    core_version: StrictStr = __version__
    method: StrictStr
    distribution: StrictStr | None
    version: StrictStr
    backbone: BackboneRecord
    view_policy: Annotated[ViewPolicy, AfterValidator(bounded_views)]
    classes: Annotated[tuple[StrictStr, ...], Field(min_length=2)]
    labels: Annotated[float, Field(gt=0)]
    data: Annotated[dict[str, Any], BeforeValidator(plain)]
    seed: Annotated[StrictInt, Field(ge=-(2**63), lt=2**64)]

    @field_serializer("view_policy")
    def _plain_policy(self, policy: ViewPolicy) -> dict[str, Any]:
        plain_policy: dict[str, Any] = policy.model_dump(mode="json")
        return plain_policy

    @model_validator(mode="after")
    def _named_apart(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have one name")
        return self

    def metadata(self) -> dict[str, str]:
        """Return what goes into the file's header."""
        return {KEY: self.model_dump_json()}


def read_finetuned_record(file: Path) -> FineTunedRecord | None:
    """Return the record in a file of safetensors; None where it has none, or cannot be read as such a file.

    Raises:
        CheckpointError: if its record is damaged, or of a newer format.
    """
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(KEY)
    except Exception:  # the library raises several kinds; whoever reads its tensors says what is wrong
        return None
    if text is None:
        return None
    try:
        values = json.loads(text)
        if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > FORMAT:
            raise CheckpointError(
                f"{file} was written by ssl-registry {str(values.get('core_version'))[:40]}, this is {__version__}, "
                "which does not know its format: pip install --upgrade ssl-registry"
            )
        return FineTunedRecord.model_validate(plain(values))
    except ValidationError as error:
        raise CheckpointError(f"{file}: its record is damaged: {first_problem(error)}; use another one") from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise CheckpointError(f"{file}: its record is damaged: {reason}; use another one") from None
