"""What a run or a checkpoint is to the commands after training: model, settings, and the network on raw samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry.checkpoint.finetuned import FineTunedRecord, read_finetuned_record
from ssl_registry.checkpoint.weights import WEIGHT_FILES, find_weights, is_foreign
from ssl_registry.data import DataOptions, Source, open_source
from ssl_registry.data.images.in_color import in_color
from ssl_registry.data.loading.workers import default_workers
from ssl_registry.data.options import ReadOptions, check_reading
from ssl_registry.errors import CheckpointError, ConfigError, DataError
from ssl_registry.model.backbones import Backbone, BackboneSpec, own_backbone
from ssl_registry.model.batches import read_batch
from ssl_registry.model.module import SSLModule
from ssl_registry.model.product import NetworkName, check_network
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.bare import open_weights
from ssl_registry.runs.contents import RunSettings
from ssl_registry.runs.finetuned import Classifier, open_finetuned, with_head
from ssl_registry.runs.folder import Run
from ssl_registry.views import ViewPolicy

__all__ = ["OpenedRun", "RawNetwork", "given_size", "loading_workers", "open_run"]

# What holds for the data of the run alone.
OWN = ("label_column", "test_data", "sample_column", "drop_columns", "modality", "max_samples")


class RawNetwork(nn.Module):
    """A backbone that takes samples as a source gives them: resized, scaled and normalised as in training.

    Args:
        backbone: maps [batch, *input_shape] to features.
        view_policy: prepares the samples.
        input_shape: of one sample.
        feature_dim: the width of a feature vector.
    """

    def __init__(
        self, backbone: nn.Module, view_policy: ViewPolicy, input_shape: tuple[int, ...], feature_dim: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.view_policy = view_policy
        self.input_shape = input_shape
        self.feature_dim = feature_dim

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, ...], images as uint8 or floats in [0, 1], to features [batch, feature_dim] in float32."""
        (batch,) = read_batch(x, self.input_shape)
        features: Tensor = self.backbone(self.view_policy.prepare(batch)).float()
        return features


@dataclass(frozen=True)
class OpenedRun:
    """A trained model and where it came from.

    Args:
        model: with the weights of the checkpoint.
        checkpoint: its file.
        run: the run that the checkpoint lies in, or None.
        settings: of the run's ``config.yaml``; None without a run.
        trust: whether what the settings name may be run or fetched.
        network_name: which network is measured and taken away: the method's ``product``, or the ``backbone``.
        classifier: behind the backbone, of what `ssl_registry.finetune` wrote; else None.
    """

    model: SSLModule
    checkpoint: Path
    run: Run | None
    settings: RunSettings | None
    trust: bool = False
    network_name: NetworkName = "product"
    classifier: Classifier | None = None

    @property
    def name(self) -> str:
        """Method and backbone in a few words."""
        tuned = "" if self.classifier is None else ", fine-tuned"
        return f"{self.model.info.name} on {self.model.backbone_record.title}{tuned}"

    @property
    def data(self) -> str | None:
        """What it was trained on, as the run recorded it; None without a run."""
        return None if self.settings is None else self.settings.run.data

    @property
    def network(self) -> nn.Module:
        """The network that is measured and taken away; of the backbone's architecture."""
        return self.model.network(self.network_name)

    @property
    def exported(self) -> nn.Module:
        """What an export computes: the network, with the classifier behind it where fine-tuning trained one."""
        return self.network if self.classifier is None else with_head(self.network, self.classifier.head)

    def trained(self) -> RawNetwork:
        """Return the network as it was trained."""
        return self._raw(self.network)

    def predicting(self, classifier: Classifier) -> RawNetwork:
        """Return the network with a classifier behind it: raw samples to scores [batch, classes]."""
        network, policy = with_head(self.network, classifier.head), self.model.view_policy
        return RawNetwork(network, policy, self.model.input_shape, len(classifier.classes))

    def untrained(self) -> RawNetwork | None:
        """Return the same backbone with the random weights of the run's seed; None for a module that only Python knows.

        A network of one's own is built again where the run's settings tell its file.
        """
        record = self.model.backbone_record
        if record.name is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.model.seed)
                built = self._build(record.name, record.kwargs)
        elif self.settings is not None and self.settings.names_a_file:
            built = self._build(self.settings.build_backbone(self.model.seed, trust=self.trust), {})
        else:
            return None
        return self._raw(built.module)

    def is_own(self, data: str | Source | None) -> bool:
        """Tell whether a source is the one that the run was trained on."""
        return data is None or (isinstance(data, str) and data == self.data)

    def open_data(
        self,
        data: str | Source | None = None,
        *,
        holdout: float | None = None,
        **reading: Unpack[ReadOptions],
    ) -> Source:
        """Open a source for this model: by default the run's own, with the same samples held out.

        Signals and tables are standardised by the numbers of the training's source, whatever theirs are, and columns
        become features as they did there.

        Args:
            data: see `ssl_registry.data.open_source`, or a source that is open; None for what the run was trained on.
            holdout: see `open_source`; default: as the run was told.
            **reading: see `data_options`.

        Raises:
            ConfigError: if neither ``data`` nor a run's settings name a source, or an open one comes with options.
            DataError: as `open_source`, or if samples are of another shape than the model takes.
            TrustError: if the run's settings name a command or an address, without ``data`` or trust.
        """
        if isinstance(data, Source):
            check_reading(reading)
            data.check_options({name: value or None for name, value in reading.items()})
            return self._fitting(data)
        spec, options = self.data_options(data, holdout=holdout, **reading)
        if data is None and self.settings is not None:
            self.settings.require_trust("data", trust=self.trust)
            self.settings.require_trust("test_data", trust=self.trust)
        return self._fitting(open_source(spec, options))

    def data_options(
        self, data: str | None = None, *, holdout: float | None = None, **reading: Unpack[ReadOptions]
    ) -> tuple[str, DataOptions]:
        """Return what `open_data` opens, and how; see there.

        Args:
            data, holdout: see `open_data`.
            **reading: what is read in another way than in training, see `ReadOptions`. By default images have the size
                that the model was trained with; of the run's own data columns, test part and modality are as the run
                was told, of other data windows and folder of data sets alone.

        Raises:
            ConfigError: if neither ``data`` nor a run's settings name a source.
            TypeError: for an option that there is not.
        """
        check_reading(reading)
        settings = RunOptions(data=None) if self.settings is None else self.settings.run
        if data is None and settings.data is None:
            raise ConfigError(f"{self.checkpoint} does not lie in a run that tells its data; give --data SOURCE")
        *_, height, width = (0, *self.model.input_shape)  # of an image; a signal or a table has no size
        square = width if len(self.model.input_shape) == 3 and height == width else None
        of_run = {name: getattr(settings, name) for name in OWN} if self.is_own(data) else {}
        windows = _windows(
            settings if len(self.model.input_shape) == 2 else DataOptions(),
            reading.get("window_length"),
            reading.get("window_stride"),
        )
        as_trained: dict[str, Any] = {
            **of_run,
            "image_size": square,
            "data_root": settings.data_root,
            "value_range": settings.value_range if len(self.model.input_shape) == 3 else None,
            "holdout": settings.holdout if holdout is None else holdout,
            "seed": settings.seed,
            "standardize": self.model.view_policy.standardized or True,
        }
        asked = {name: value for name, value in reading.items() if value not in (None, (), [])}
        options = DataOptions.of(None, **{**as_trained, **asked, **windows})
        return data if data is not None else str(settings.data), options.with_columns(self.model.view_policy.columns)

    def require_unseen(self, label: str | None) -> None:
        """Refuse to measure by a column that the network was given as a feature.

        Raises:
            ConfigError: naming it; the figures would say how well the network repeats its input.
        """
        columns = self.model.view_policy.columns
        if columns is not None and label in [column.name for column in columns.columns]:
            raise ConfigError(
                f"{self.checkpoint} was trained with {label!r} among its features, so its input tells the answer; "
                f"train again with --data.label {label}"
            )

    def _fitting(self, source: Source) -> Source:
        """Return a source if the model takes its samples."""
        # Images are resized to what is taken; of signals and tables the length matters too.
        if source.modality == "image" and (source.input_shape[0], self.model.input_shape[0]) == (1, 3):
            source = in_color(source)
        taken, given = self.model.input_shape, source.input_shape
        if (taken[:1], len(taken)) != (given[:1], len(given)) or (source.modality != "image" and taken != given):
            if len(taken) != len(given):
                raise DataError(
                    f"{self.checkpoint} was trained on {_in_words(taken)}; {source.name} has {_in_words(given)}; give "
                    "--data of the kind that it was trained on"
                )
            words = [" x ".join(map(str, shape)) for shape in (taken, given)]
            cut = source.modality == "signal" and taken[:1] == given[:1]
            raise DataError(
                f"{self.checkpoint} takes samples of {words[0]}; {source.name} has samples of {words[1]}"
                + (f"; windows of that length are cut by --data.window {taken[-1]}" if cut else "")
            )
        return source

    def _raw(self, backbone: nn.Module) -> RawNetwork:
        return RawNetwork(backbone, self.model.view_policy, self.model.input_shape, self.model.feature_dim)

    def _build(self, backbone: str | nn.Module, kwargs: dict[str, Any]) -> Backbone:
        record = self.model.backbone_record
        spec = BackboneSpec(
            backbone=backbone,
            input_shape=self.model.input_shape,
            low_resolution=record.low_resolution,
            pooling=record.pooling,
            kwargs=kwargs,
        )
        return spec.build()


def open_run(
    path: str | Path,
    *,
    backbone: str | nn.Module | None = None,
    network: str = "product",
    image_size: int | None = None,
    trust: bool = False,
    registry: Registry = default_registry,
) -> OpenedRun:
    """Reopen a run's folder or a checkpoint, with a network of one's own if the run's settings name its file.

    A file of weights alone, of this project or of any toolbox, is opened too, once its network is known; and what
    `ssl_registry.finetune` wrote, with its classifier.

    Args:
        path: the folder or the file.
        backbone: the module that training was given from Python, or ``file.py:NAME`` of what builds it; of weights
            alone, any name too.
        network: which one is wanted, see `OpenedRun`; of weights alone, a part of the names where they have several.
        image_size: side of the images that weights alone are used for; of a run, its own.
        trust: run and fetch what the run's files name: the Python file of a network, a command that gives samples.
        registry: where the method is looked up.

    Raises:
        CheckpointError, MethodNotFoundError, PluginError, TrustError: as `Registry.load`.
        BackboneError: if weights alone do not fit.
        ConfigError: if the run's settings are damaged, or there is no network of this name.
    """
    checkpoint = find_weights(Path(path))
    if checkpoint.suffix == ".safetensors" and (tuned := read_finetuned_record(checkpoint)) is not None:
        return _open_finetuned(checkpoint, tuned, backbone, network, trust)
    if isinstance(backbone, str) and ".py:" in backbone:
        backbone = own_backbone(backbone, None, 0)
    if checkpoint.name in WEIGHT_FILES or checkpoint.suffix == ".safetensors" or isinstance(backbone, str):
        return _open_weights(checkpoint, backbone, image_size, network, trust)
    try:
        return _open_checkpoint(checkpoint, backbone, network, trust, registry)
    except CheckpointError:
        if not is_foreign(checkpoint):
            raise
        return _open_weights(checkpoint, backbone, image_size, network, trust)


def _open_weights(
    file: Path, backbone: str | nn.Module | None, image_size: int | None, network: str, trust: bool
) -> OpenedRun:
    named = None if network == "product" else network
    model = open_weights(file, backbone=backbone, image_size=image_size, network=named, trust=trust)
    return OpenedRun(model, file, None, None, trust)


def _open_finetuned(
    file: Path, record: FineTunedRecord, backbone: str | nn.Module | None, network: str, trust: bool
) -> OpenedRun:
    model, classifier, settings = open_finetuned(file, record, backbone=backbone, trust=trust)
    run = Run(file.parent)
    return OpenedRun(
        model, file, run if run.settings.exists() else None, settings, trust, check_network(network), classifier
    )


def _open_checkpoint(
    checkpoint: Path, backbone: nn.Module | None, network: str, trust: bool, registry: Registry
) -> OpenedRun:
    run = Run(checkpoint.parent.parent) if checkpoint.parent.name == "checkpoints" else None
    settings = run.read_settings() if run is not None and run.settings.exists() else None
    if backbone is None and settings is not None and settings.names_a_file:
        backbone = settings.build_backbone(settings.run.seed, trust=trust)
    model = registry.load(checkpoint, backbone=backbone, trust=trust)
    return OpenedRun(model, checkpoint, run, settings, trust, check_network(network))


def given_size(data: str | Source | None, told: int | None) -> int | None:
    """Return the side of images that weights alone are used for: as told, or that of a source that is open."""
    if told is not None or not isinstance(data, Source) or data.modality != "image":
        return told
    return data.input_shape[-1]


def _windows(of_run: DataOptions, length: int | None, stride: int | None) -> dict[str, int | None]:
    """Return how signals are cut: as asked, else as in training; a stride of the run's goes with its own windows."""
    if length is None or length == of_run.window_length:
        return {"window_length": of_run.window_length, "window_stride": stride or of_run.window_stride}
    return {"window_length": length, "window_stride": stride}


def _in_words(shape: tuple[int, ...]) -> str:
    """Say what samples of a shape are.

    >>> _in_words((106,)), _in_words((2, 128)), _in_words((3, 224, 224))
    ('a table of 106 features', 'signals of 2 channels and 128 moments', 'images of 3 x 224 x 224')
    """
    if len(shape) == 1:
        return f"a table of {shape[0]} features"
    if len(shape) == 2:
        return f"signals of {shape[0]} channel{'' if shape[0] == 1 else 's'} and {shape[1]} moments"
    return f"images of {' x '.join(map(str, shape))}"


def loading_workers(source: Source, told: int | None) -> int:
    """Return how many processes load samples: as told, or as in training."""
    return default_workers(source) if told is None else told
