"""`TableColumns`: how the columns of a table become features, as a value that a run records."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Column", "TableColumns"]


class Column(BaseModel):
    """A column of a table as it was fitted on the training part.

    Args:
        name: in the file.
        kind: ``number`` (booleans are 0 and 1), ``date`` (days since 1970), or ``category``.
        fill: what stands for a missing number or date: the training part's median.
        has_missing: whether the training part missed values, so that a feature of 0 and 1 tells of them.
        categories: each is a feature of 0 and 1; a value that is none of them is 0 in all.
        has_others: whether rarer categories of the training part share one further feature.
        unit: of numbers that are written as words: the sign of a currency, "%", or "" for separated thousands alone.
        decimal_comma: of such numbers, whether a comma stands before the decimals.
        day_first: of dates such as 03/04/2024, whether the day stands first.

    Example:
        >>> Column(name="color", kind="category", categories=("blue", "red"), has_missing=True).features
        ('color=blue', 'color=red', 'color is missing')
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    kind: Literal["number", "date", "category"] = "number"
    fill: float = 0.0
    has_missing: bool = False
    categories: tuple[str, ...] = ()
    has_others: bool = False
    day_first: bool = False
    unit: str | None = None
    decimal_comma: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that it becomes."""
        others = (f"{self.name} is another",) if self.has_others else ()
        missing = (f"{self.name} is missing",) if self.has_missing else ()
        values = tuple(f"{self.name}={value}" for value in self.categories)
        return (*(values if self.kind == "category" else (self.name,)), *others, *missing)


class TableColumns(BaseModel):
    """The columns of a table that are features, in their order.

    Args:
        columns: each with what was fitted on the training part.
        label: the column of the labels; None where there was none.

    Example:
        >>> table = TableColumns(columns=(Column(name="age"), Column(name="sex", kind="category", categories=("f",))))
        >>> table.features
        ('age', 'sex=f')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[Column, ...] = Field(min_length=1)
    label: str | None = None

    @model_validator(mode="after")
    def _names_differ(self) -> TableColumns:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError("two columns have one name")
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all features, in order."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def is_plain(self) -> bool:
        """Whether each column is a number and the training part missed none."""
        return all(column.kind == "number" and not column.has_missing for column in self.columns)
