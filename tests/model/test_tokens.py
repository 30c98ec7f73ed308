"""The model's tokens: measured for the heads, and computed where training, compiling and sharding see them."""

from __future__ import annotations

import pytest
import timm
import torch
from lightning.pytorch import Callback
from masked import masked_registry
from torch import nn
from torch._dynamo.testing import CompileCounter

from ssl_registry import MethodConfig, Registry, hookimpl
from ssl_registry.errors import BackboneError
from ssl_registry.model.feature_dim import FeaturePool
from ssl_registry.nn import SignalEncoder, TableEncoder, Tokens, tokens
from ssl_registry.testing.checks.distributed import two_processes
from ssl_registry.testing.checks.sharding import fsdp2
from ssl_registry.testing.subject import Subject, loader, make_trainer


class Asks:
    """A method that notes what it is told of tokens, and needs nothing else of the backbone."""

    class Config(MethodConfig):
        """No options."""

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, token_dim, token_grid):
        self.told = token_dim, token_grid
        return {}

    @hookimpl
    def compute_loss(self, model, views):
        return model(views[0]).square().mean()


class DoesNotAsk(Asks):
    """A method that looks at features alone."""

    @hookimpl
    def build_heads(self):
        return {}


class Dense(nn.Module):
    """A user's network with a feature map, which the core pools."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 4, stride=4)

    def forward(self, x):
        return self.conv(x)

    def tokens(self, x, *, keep=None, mask=None, mask_token=None, layers=()):
        out = self(x)
        return Tokens(out.flatten(2).mT[:, :0], out.flatten(2).mT, tuple(out.shape[2:]))


def transformer(**options) -> nn.Module:
    torch.manual_seed(0)
    options = {"img_size": (32, 48), "depth": 2, "embed_dim": 16, "num_heads": 2, "num_classes": 0, **options}
    return timm.create_model("vit_tiny_patch16_224", **options)


def create(method: type, backbone: nn.Module, input_shape: tuple[int, ...], **options):
    registry = Registry(entry_points=False)
    registry.register("method", method)
    return registry.create("method", backbone=backbone, input_shape=input_shape, seed=0, **options)


@pytest.mark.parametrize(
    ("make", "shape", "dim", "grid"),
    [
        (transformer, (3, 32, 48), 16, (2, 3)),
        (lambda: timm.create_model("resnet18", num_classes=0), (3, 64, 96), 512, (2, 3)),
        (lambda: SignalEncoder(9), (9, 128), 128, (18,)),
        (Dense, (3, 8, 12), 5, (2, 3)),
    ],
    ids=["transformer", "feature map", "signal", "a user's"],
)
def test_heads_are_told_the_measured_tokens(make, shape, dim, grid):
    """Width and grid come from the network at the true shape, and the model keeps them."""
    model = create(Asks, make(), shape)
    assert model.method.told == (dim, grid)
    assert (model.token_dim, model.token_grid) == (dim, grid)


def test_nothing_is_measured_for_methods_without_tokens():
    """A method that does not ask costs nothing and gets nothing."""
    model = create(DoesNotAsk, transformer(), (3, 32, 48))
    assert (model.token_dim, model.token_grid) == (None, None)


def test_measuring_leaves_no_trace():
    """Statistics, modes and random numbers are as they were."""
    backbone = timm.create_model("resnet18", num_classes=0).train()
    before, numbers = {name: t.clone() for name, t in backbone.state_dict().items()}, torch.get_rng_state()
    create(Asks, backbone, (3, 32, 32))
    assert all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())
    assert all(part.training for part in backbone.modules())
    assert torch.equal(torch.get_rng_state(), numbers)


@pytest.mark.parametrize("backbone", [TableEncoder(5), nn.Linear(5, 3)], ids=["table", "module"])
def test_a_backbone_without_tokens_is_refused(backbone):
    """Where the heads ask for tokens, the error names backbones that have them."""
    with pytest.raises(BackboneError, match=r"method works on the backbone's tokens.*vit_small_patch16_224.*resnet50"):
        create(Asks, backbone, (5,))


def test_the_model_gives_its_backbones_tokens():
    """`model.tokens` is `nn.tokens` of the backbone; `embed` and the call give features as ever."""
    model = create(Asks, transformer(), (3, 32, 48)).eval()
    x, keep = torch.randn(2, 3, 32, 48), torch.tensor([[0, 5], [3, 2]])
    with torch.no_grad():
        found, wanted = model.tokens(x, keep=keep, layers=(0,)), tokens(model.backbone, x, keep=keep, layers=(0,))
        assert torch.equal(found.patches, wanted.patches)
        assert torch.equal(found.layers[0], wanted.layers[0])
        assert torch.equal(model(x), model.tokens(x).prefix[:, 0])
        features = model.embed(torch.rand(2, 3, 32, 48))
    assert features.shape == (2, model.feature_dim)


def test_the_pool_around_a_users_network_is_seen_through():
    """What the core wraps around a dense network has the tokens of the network."""
    model = create(Asks, Dense(), (3, 8, 12))
    assert isinstance(model.backbone, FeaturePool)
    seen = []
    model.backbone.module.register_forward_hook(lambda module, args, out: seen.append(type(out)))
    assert model.tokens(torch.randn(2, 3, 8, 12)).grid == (2, 3)
    assert Tokens in seen


# torch's own, while it compiles a head that takes the backbone's output
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiling_the_networks_compiles_the_tokens(monkeypatch):
    """`compile_networks` compiles what token methods call, whole: the backbone on kept patches, and the decoder."""
    counter, compile_one = CompileCounter(), nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_one(self, backend=counter, fullgraph=True))
    subject = Subject("masked", masked_registry())
    plain, model = subject.model(), subject.model()
    model.compile_networks()
    for step in range(3):
        found = model._loss(subject.views(model), model._context(0, steps_more=step))[0]
        wanted = plain._loss(subject.views(plain), plain._context(0, steps_more=step))[0]
        torch.testing.assert_close(found, wanted)
    assert counter.frame_count == 2
    torch._dynamo.reset()


class Losses(Callback):
    """Keeps the loss of every step."""

    def __init__(self):
        self.found = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.found.append(float(outputs["loss"]))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_trains(precision, checkpointing):
    """Steps under Lightning lower the loss in every precision, with gradient checkpointing too."""
    subject, losses = Subject("masked", masked_registry()), Losses()
    model = subject.model(learning_rate=0.01)
    model.backbone.set_grad_checkpointing(checkpointing)
    batches = loader([subject.batch(count=16)] * 20)
    make_trainer(max_steps=20, precision=precision, callbacks=[losses]).fit(model, batches)
    assert sum(losses.found[-5:]) < 0.8 * sum(losses.found[:5])


@pytest.mark.slow
def test_two_processes_train_as_one():
    """Under DDP ten steps of two processes have the losses, gradients and weights of one."""
    two_processes(Subject("masked", masked_registry()))


@pytest.mark.slow
def test_sharded_weights_train_as_whole_ones():
    """Under FSDP2 a step of two processes has the weights of one process."""
    fsdp2(Subject("masked", masked_registry()))
