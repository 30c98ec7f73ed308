"""Validation and prediction."""

from __future__ import annotations

import torch

from ssl_registry.contract.validation import implemented_hooks
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.checks.repeating import first_difference
from ssl_registry.testing.subject import Subject, global_seed, loader, make_trainer, quietly


@check()
def validating(subject: Subject) -> None:
    """Validation works with one view a sample, repeats, and changes nothing: no weight, no statistic, no queue.

    Why: held-out samples that end up in a queue or a centre take part in training, unnoticed.
    Usual cause: `compute_loss` updates a buffer without asking `model.training`.
    """
    model = subject.model()
    subject.fit(model, max_epochs=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    losses = []
    for seed in (1, 2):
        with quietly(), global_seed(seed):
            (metrics,) = make_trainer(limit_val_batches=1.0).validate(
                model, datamodule=subject.data(model), verbose=False, weights_only=True
            )
        losses.append(metrics.get("val_loss", 0.0))  # a loss of samples by their numbers is that of training ones
    if difference := first_difference(before, model.state_dict()):
        raise CheckFailure(f"validation changes {difference}; update it only if model.training")
    if not torch.tensor(losses).isfinite().all():
        raise CheckFailure(f"the validation loss is {losses[0]}")
    if losses[0] != losses[1]:
        raise CheckFailure(f"the validation loss does not repeat: {losses[0]:.6g}, then {losses[1]:.6g}")


@check()
def predicting(subject: Subject) -> None:
    """Prediction gives [batch, feature_dim] for one view a sample, by itself or in a batch, and changes nothing.

    Why: prediction is what a pretrained backbone is for, and its batches hold one view.
    Usual cause: a method that needs its training views to be drawn, or that put a part of the backbone in train mode.
    """
    model = subject.model()
    subject.fit(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = subject.batch(count=5)
    with quietly():
        found = torch.cat(make_trainer().predict(model, loader([x[:3], x[3:]]), weights_only=True))  # type: ignore[arg-type]
    if found.shape != (5, model.feature_dim):
        raise CheckFailure(f"prediction gives {list(found.shape)} for 5 samples, not [5, {model.feature_dim}]")
    alone = torch.stack([model.embed(sample) for sample in x])
    if not torch.allclose(found, alone, rtol=1e-4, atol=1e-5):
        raise CheckFailure("a sample's features depend on the batch it is in; the backbone is not in evaluation mode")
    if difference := first_difference(before, model.state_dict()):
        raise CheckFailure(f"prediction changes {difference}")


@check()
def reconstructing(subject: Subject) -> None:
    """What the hook `reconstruct` shows fits the samples, repeats, and changes nothing; some patches are hidden.

    Why: a picture of a mask that was not used, or of another one at each look, tells nothing of the method.
    Usual cause: a mask that is drawn without `ctx.generator`, or once for the network and once more for the answer.
    """
    if "reconstruct" not in implemented_hooks(subject.method_class):
        raise NotApplicable("it has no hook reconstruct")
    model = subject.model()
    subject.fit(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = subject.batch(count=4)
    found, again = model.reconstruct(x), model.reconstruct(x)
    if found is None or again is None:
        raise NotApplicable("it has nothing to show of the kit's backbone")
    if not found.output.isfinite().all():
        raise CheckFailure("the reconstruction holds NaN or infinite values")
    if not torch.equal(found.mask, again.mask) or not torch.equal(found.output, again.output):
        raise CheckFailure("the reconstruction is another one at each call; draw masks with ctx.generator")
    hidden = found.mask.flatten(1).float().mean(1)
    if not ((hidden > 0) & (hidden < 1)).all():
        raise CheckFailure(f"shares of {hidden.tolist()} of the patches are hidden; none or all is no reconstruction")
    if difference := first_difference(before, model.state_dict()):
        raise CheckFailure(f"reconstructing changes {difference}")
