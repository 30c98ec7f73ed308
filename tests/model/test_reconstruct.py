"""`reconstruct`: what a method shows of samples that it hides a part of, on the scale of samples."""

from __future__ import annotations

import pytest
import torch
from masked import Masked
from torch import nn

from ssl_registry import Reconstruction, Registry, hookimpl
from ssl_registry.contract.validation import check_method_class
from ssl_registry.errors import BatchError, ContractError
from ssl_registry.views import ImageView, ViewPolicy

MEAN, STD = (0.5,), (0.2,)


def shows(answer):
    """A method that hides the left half of images of 8 pixels, and answers so."""

    class Shows(Masked):
        @hookimpl
        def reconstruct(self, model, x, ctx):
            assert not model.training
            assert not torch.is_grad_enabled()
            return answer(x, ctx)

    return Shows


def make(cls):
    registry = Registry(entry_points=False)
    registry.register("shows", cls)
    policy = ViewPolicy(views=(ImageView(),), image_size=8, mean=MEAN, std=STD)
    backbone = {"patch_size": 4, "depth": 1, "embed_dim": 24, "num_heads": 2}
    return registry.create(
        "shows",
        backbone="vit_tiny_patch16_224",
        backbone_kwargs=backbone,
        input_shape=(1, 8, 8),
        view_policy=policy,
        seed=3,
    ).train()


def left(x):
    return torch.tensor([[[True, False], [True, False]]]).expand(len(x), -1, -1)


def images(count=2):
    return torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_output_is_on_the_scale_of_samples():
    """The hook is given normalized samples; what it leaves as it is comes back as the raw ones, and modes stay."""
    model = make(shows(lambda x, ctx: Reconstruction(x, left(x), "a word")))
    found = model.reconstruct(images())
    torch.testing.assert_close(found.output, images() / 255)
    assert torch.equal(found.mask, left(images()))
    assert found.note == "a word"
    assert all(part.training for part in model.modules())


def test_random_numbers_are_the_seeds():
    """The same at every call, and others for another seed."""
    cls = shows(lambda x, ctx: Reconstruction(torch.rand(x.shape, generator=ctx.generator), left(x)))
    model = make(cls)
    first = model.reconstruct(images()).output
    assert torch.equal(model.reconstruct(images()).output, first)
    model.seed = 4
    assert not torch.equal(model.reconstruct(images()).output, first)


def test_nothing_to_show():
    """A method without the hook, and one that returns nothing."""
    assert make(Masked).reconstruct(images()) is None
    assert make(shows(lambda x, ctx: None)).reconstruct(images()) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x, r"must return ssl_registry.Reconstruction\(output, mask\), it returned float32"),
        (lambda x: Reconstruction(x[:, :, 1:], left(x)), r"returned float32\[2, 1, 7, 8\] as output"),
        (lambda x: Reconstruction((x > 0), left(x)), r"returned bool\[2, 1, 8, 8\] as output; .* in floats"),
        (lambda x: Reconstruction(x, left(x).float()), r"returned float32\[2, 2, 2\] as mask"),
        (lambda x: Reconstruction(x, left(x).flatten(1)), r"returned bool\[2, 4\] as mask"),
        (lambda x: Reconstruction(x, torch.ones(2, 3, 2, dtype=torch.bool)), r"patches of one size that fill"),
        (lambda x: Reconstruction(x, left(x)[:1]), r"returned bool\[1, 2, 2\] as mask"),
    ],
)
def test_answers_that_do_not_fit(answer, words):
    """Are told with what came, and what must come."""
    with pytest.raises(ContractError, match=f"shows: reconstruct .*{words}"):
        make(shows(lambda x, ctx: answer(x))).reconstruct(images())


def test_samples_are_checked_as_for_embed():
    """Of another shape, or out of range."""
    model = make(shows(lambda x, ctx: Reconstruction(x, left(x))))
    with pytest.raises(BatchError, match="the model takes"):
        model.reconstruct(torch.zeros(2, 3, 8, 8))
    with pytest.raises(BatchError):
        model.reconstruct(torch.full((2, 1, 8, 8), 9.0))


def test_the_hook_is_checked_as_every_other():
    """A mark that was forgotten, and an argument that it does not have."""

    class Forgot(Masked):
        def reconstruct(self, model, x):
            return None

    class Wrong(Masked):
        @hookimpl
        def reconstruct(self, model, views):
            return None

    with pytest.raises(ContractError, match="reconstruct is a hook but is not marked"):
        check_method_class(Forgot, source="here")
    with pytest.raises(ContractError, match=r"reconstruct has no argument 'views'.*It can take any of: model, x, ctx"):
        check_method_class(Wrong, source="here")


def test_a_batch_has_no_numbers():
    """Samples of a picture are of no training batch."""
    cls = shows(lambda x, ctx: ctx.indices)
    with pytest.raises(BatchError, match=r"no ctx\.indices"):
        make(cls).reconstruct(images())


def test_signals_too():
    """[batch, channels, time] and [batch, steps]."""

    class Steps(shows(lambda x, ctx: Reconstruction(x, torch.arange(4).expand(len(x), -1) > 1))):
        needs = Masked.needs.__class__()

        @hookimpl
        def build_heads(self, feature_dim):
            return {"head": nn.Linear(feature_dim, 2)}

    registry = Registry(entry_points=False)
    registry.register("steps", Steps)
    model = registry.create("steps", backbone="signal_encoder", input_shape=(2, 16))
    x = torch.randn(3, 2, 16)
    found = model.reconstruct(x)
    torch.testing.assert_close(found.output, x)
    assert found.mask.shape == (3, 4)
