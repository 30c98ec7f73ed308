"""`Source`: what a data set is to the rest of the project, and `open_source`, which makes one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch.utils.data import Dataset

from ssl_registry.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from ssl_registry.views import View

__all__ = ["Kind", "Source", "open_source"]

Kind = Literal["image", "signal", "table"]

UNDERSTOOD = (
    "'digits' (built in), a folder of images, an array file (.npz, .npy, .pt), "
    "or a torchvision data set ('torchvision:CIFAR10' or 'CIFAR10', with data_root=...)"
)


@dataclass(frozen=True)
class Source:
    """A data set: its samples, and what one must know to train on them.

    Args:
        name: for reports and run folders.
        kind: ``image``, ``signal`` or ``table``.
        input_shape: of one sample: (channels, height, width), (channels, time) or (features,).
        train: items are ``(x, label)`` when labelled, ``x`` alone otherwise. An image is uint8, or float32 in
            [0, 1]; a signal or a table is float32, standardised. Labels are int64, 0 to ``len(classes) - 1``.
        test: the held-out part, or None.
        classes: the classes' names by label; None when there are no labels.
        mean, std: per channel or feature, of the train part. Of images in [0, 1] and not yet applied;
            of signals and tables as stored and already applied. None when not known.
        view: augmentation suited to the samples, where the source knows one; otherwise the method's is used.
        notes: what was decided while opening it, in words.
    """

    name: str
    kind: Kind
    input_shape: tuple[int, ...]
    train: Dataset[Any]
    test: Dataset[Any] | None = None
    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    view: View | None = None
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether items carry a label."""
        return self.classes is not None


def open_source(
    spec: str,
    *,
    image_size: int | None = None,
    data_root: str | Path | None = None,
    kind: str | None = None,
    holdout: float = 0.2,
    seed: int = 0,
) -> Source:
    """Open a data set by what a user writes.

    ``digits`` is scikit-learn's handwritten digits, in every installation. A path decides by what it is: a
    folder holds images, a file holds arrays; write ``./digits`` for a folder of that name. Any other word is
    a data set of torchvision, which must be on the disk already: nothing is downloaded.

    Args:
        spec: ``digits``, a path, or a torchvision name with or without ``torchvision:`` before it.
        image_size: side to which images are resized, in pixels; default: 16 for digits, 224 for files, as
            stored for arrays.
        data_root: where torchvision sets lie; default ``data``.
        kind: ``image``, ``signal`` or ``table``, where an array's shape and type do not tell.
        holdout: share of each class held out as the test part, where the data have labels but no test part of
            their own; 0 for none.
        seed: of that hold-out.

    Raises:
        DataError: if there is no such data set, or it cannot be used; it says what was expected.
        ConfigError: if an argument is out of range.

    Example:
        >>> source = open_source("digits")
        >>> source.kind, source.input_shape, len(source.train), len(source.test)
        ('image', (1, 16, 16), 1300, 497)
    """
    _check_arguments(image_size, kind, holdout)
    # Each origin is imported when it is used: scikit-learn and torchvision take a second each.
    spec = str(spec)
    if not spec.strip():
        raise DataError(f"the data's name is empty. Data can be: {UNDERSTOOD}")
    path = Path(spec).expanduser()
    if spec != "digits" and path.is_file():
        from ssl_registry.data.arrays import array_file

        return array_file(path, kind=kind, image_size=image_size, holdout=holdout, seed=seed)
    if kind not in (None, "image"):
        raise ConfigError(f"kind={kind!r} is for array files (.npz, .npy, .pt); {spec!r} holds images, leave kind out")
    if spec == "digits":
        from ssl_registry.data.digits import digits

        return digits(image_size or 16)
    if path.is_dir():
        from ssl_registry.data.folder import folder

        return folder(path, image_size=image_size or 224, holdout=holdout, seed=seed)

    from ssl_registry.data.torchvision_sets import set_names, torchvision_set

    prefixed = spec.startswith("torchvision:")
    name = spec.removeprefix("torchvision:")
    if prefixed or name in set_names():
        root = Path(data_root or "data").expanduser()
        return torchvision_set(name, root=root, image_size=image_size, holdout=holdout, seed=seed)
    if path.suffix or len(path.parts) > 1:
        raise DataError(f"there is no file or folder {spec!r} in {Path.cwd()}. Data can be: {UNDERSTOOD}")
    near = did_you_mean(spec, ["digits", *set_names()])
    raise DataError(
        f"there is no data {spec!r}: it is neither a path nor a known name.{near} Data can be: {UNDERSTOOD}"
    )


def _check_arguments(image_size: int | None, kind: str | None, holdout: float) -> None:
    if image_size is not None and (isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1):
        raise ConfigError(f"image_size={image_size!r} must be a whole number of pixels, at least 1")
    if kind is not None and kind not in get_args(Kind):
        raise ConfigError(f"kind={kind!r} is not known; use {', '.join(map(repr, get_args(Kind)))}, or leave it out")
    if not 0 <= holdout < 1:
        raise ConfigError(f"holdout={holdout!r} must be a share, at least 0 and below 1")
