"""A method that clusters at each epoch's start: the whole of it in a file, for `docs/write-a-method.md`.

python -c "import deepcluster, ssl_registry as s; s.registry.register('deepcluster', deepcluster.DeepCluster);
           s.train('deepcluster', data='digits', num_clusters=50)"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, SSLModule, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.nn import MLP, Prototypes, evaluating
from ssl_registry.views import ViewPolicy, augmented_view


class DeepCluster:
    """Clusters as labels (Caron et al., 2018), arXiv:1807.05520.

    At an epoch's start k-means divides the features of training samples. In the epoch each view is classified into the
    cluster that is nearest to the other view. As in the authors' DeepCluster-v2 (Caron et al., 2020, arXiv:2006.09882,
    section 4.1), features and centroids have length 1, and the centroids are the classifier. The authors keep the
    features of all samples from epoch to epoch and look up each sample's cluster; here the other view tells it.

    Heads: ``projection_head``, ``centroids``.
    """

    needs = Needs(modalities=("image",), batch="any: samples are compared with centroids", memory="one network")

    class Config(MethodConfig):
        """Options of DeepCluster, besides those of every method."""

        projection_dim: int = Field(128, ge=1, description="Width of the features that are clustered.")
        num_clusters: int = Field(3000, ge=2, description="Centroids; the paper: more than there are classes.")
        clustered: int = Field(20_000, ge=2, description="Training samples that are clustered.")
        iterations: int = Field(10, ge=1, description="Iterations of k-means.")
        temperature: float = Field(0.1, gt=0, description="Softmax temperature of the classification.")

    declares = Declares(
        symmetric=True,
        small={"num_clusters": 4, "clustered": 16, "projection_dim": 8, "iterations": 1},
        reference="deepcluster:reference",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the projection head, and centroids that no gradient moves: random ones until an epoch starts."""
        dim = self.config.projection_dim
        return {
            "projection_head": overrides.take("projection_head", lambda: MLP(feature_dim, feature_dim, dim)),
            "centroids": Prototypes(dim, self.config.num_clusters).requires_grad_(False),
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two views alike."""
        view = augmented_view(image_size, blur=0.5, color_jitter=0.8, saturation=0.8, hue=0.2)
        return ViewPolicy(views=(view.model_copy(update={"copies": 2}),), image_size=image_size)

    @hookimpl
    def on_epoch_start(self, model: SSLModule, sample: Callable[[int], Tensor], ctx: Context) -> None:
        """Find the centroids. All ranks are given the same samples and random numbers, and find the same."""
        head = model.heads["projection_head"]
        with torch.no_grad(), evaluating(model.backbone), evaluating(head):
            parts = torch.split(sample(self.config.clustered), 256)
            features = torch.cat([F.normalize(head(model(part)).float()) for part in parts])
            model.heads["centroids"].weight.copy_(
                k_means(features, self.config.num_clusters, self.config.iterations, ctx.shared_generator)
            )

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor]) -> dict[str, Tensor]:
        """Classify each view into the other's cluster."""
        scores = [model.heads["centroids"](model.heads["projection_head"](model(view))) for view in views]
        clusters = [each.argmax(1) for each in scores]  # [batch]; no gradient goes through a choice
        a, b = (each / self.config.temperature for each in scores)
        loss = (F.cross_entropy(a, clusters[1]) + F.cross_entropy(b, clusters[0])) / 2
        return {"loss": loss, "agreement": (clusters[0] == clusters[1]).float().mean()}


def k_means(x: Tensor, count: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` centroids of length 1 of vectors [samples, dim] of length 1; a cluster that is empty stays put.

    Raises:
        ConfigError: if there are fewer vectors than centroids.
    """
    if len(x) < count:
        raise ConfigError(f"num_clusters={count} is more than the {len(x)} samples that are clustered; give fewer")
    centroids = x[torch.randperm(len(x), generator=generator, device=x.device)[:count]]
    for _ in range(iterations):
        members = F.one_hot((x @ centroids.T).argmax(1), count).to(x)  # [samples, count]
        centroids = F.normalize(torch.where(members.any(0)[:, None], members.T @ x, centroids))
    return centroids


def reference(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """The loss sample by sample, for the conformance kit to compare with."""
    centroids, losses = model.heads["centroids"].weight, []
    pairs = zip(*(model.heads["projection_head"](model.backbone(view)) for view in views), strict=True)
    for pair in pairs:
        cosines = [centroids @ z / z.norm() for z in pair]  # centroids have length 1
        for own, other in (cosines, cosines[::-1]):
            losses.append(-torch.log_softmax(own / model.config.temperature, 0)[other.detach().argmax()])
    return torch.stack(losses).mean()
