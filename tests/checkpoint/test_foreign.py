"""A backbone is read out of the files of other toolboxes, to equal features, or refused with what to do."""

from __future__ import annotations

import argparse
import collections
import logging
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from ssl_registry.checkpoint.tensors import read_content
from ssl_registry.checkpoint.weights import load_backbone_weights
from ssl_registry.errors import BackboneError, CheckpointError, SSLRegistryError
from ssl_registry.model.backbones import BackboneSpec

State = dict[str, Tensor]
NARROW: dict[str, Any] = {"channels": (8, 8, 16, 16)}
TINY: dict[str, Any] = {"depth": 2, "embed_dim": 32, "num_heads": 2}


def resnet(**arguments: Any) -> nn.Module:
    """A small ResNet of timm's, whose numbers are all random, statistics too."""
    return shaken(timm.create_model("resnet10t", **{"num_classes": 0, **NARROW, **arguments}))


def vit(**arguments: Any) -> nn.Module:
    built = {"img_size": 32, "num_classes": 0, **TINY, **arguments}
    return shaken(timm.create_model("vit_tiny_patch16_224", **built))


def shaken(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.1)
    return network.eval()


def named(prefix: str, network: nn.Module) -> State:
    return {prefix + name: value for name, value in network.state_dict().items()}


def head(prefix: str) -> State:
    return {f"{prefix}.0.weight": torch.zeros(4, 8), f"{prefix}.0.bias": torch.zeros(4)}


def children(network: nn.Module) -> nn.Module:
    return nn.Sequential(*list(network.children())[:-1])


def loaded(
    file: pathlib.Path,
    backbone: str | nn.Module = "resnet10t",
    *,
    size: int = 32,
    network: str | None = None,
    kwargs: dict[str, Any] | None = None,
) -> nn.Module:
    """Build a backbone with the weights of a file."""
    kwargs = kwargs or (NARROW if backbone == "resnet10t" else {})
    spec = BackboneSpec(backbone, image_size=size, weights=file, weights_network=network, kwargs=kwargs)
    return spec.build().module.eval()


def same(first: nn.Module, second: nn.Module, size: int = 32) -> None:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, wanted = first(x), second(x)
    assert wanted.isfinite().all()
    assert torch.equal(found, wanted)


def saved(tmp_path: pathlib.Path, content: Any) -> pathlib.Path:
    torch.save(content, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


ARGS = argparse.Namespace(arch="x", lr=0.1, folder=pathlib.PurePosixPath("a/b"))

# Layout -> the file's content around a ResNet (and its momentum copy).
RESNETS: dict[str, Callable[[nn.Module, nn.Module], Any]] = {
    "torchvision": lambda net, _: {**named("", net), "fc.weight": torch.zeros(9, 512), "fc.bias": torch.zeros(9)},
    "timm": lambda net, _: net.state_dict(),
    "lightly, a module's children": lambda net, _: named("", children(net)),
    "lightly, SimCLR": lambda net, _: {**named("backbone.", children(net)), **head("projection_head.layers")},
    "solo-learn, linear": lambda net, _: {"state_dict": {**named("backbone.", net), **head("classifier")}},
    "solo-learn, of 2021": lambda net, _: {"state_dict": {**named("encoder.", net), **head("projector")}},
    "MoCo v2, lincls": lambda net, _: {"epoch": 9, "state_dict": {**named("module.", net), **head("module.fc")}},
    "SwAV": lambda net, _: {**named("module.", net), **head("module.projection_head"), **head("module.prototypes")},
    "SwAV, to go on": lambda net, _: {"state_dict": named("module.", net), "amp": {"loss_scaler0": {"unskipped": 3}}},
    "VICReg": lambda net, _: {"epoch": 1, "model": {**named("module.backbone.", net), **head("module.projector")}},
    "Barlow Twins": lambda net, _: {
        "epoch": 1,
        "model": {**named("module.backbone.", net), "module.bn.running_mean": torch.zeros(8)},
        "optimizer": {"state": {0: {"mu": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "stable-pretraining": lambda net, _: {
        "state_dict": {**named("backbone.", net), **head("projector")},
        "hyper_parameters": {"folder": pathlib.PurePosixPath("a")},
        "callbacks": {"OnlineProbe": {"best": torch.tensor(0.5)}},
    },
    "Minerva": lambda net, _: {"state_dict": {**named("backbone.RN50model.", net), **head("pred_head.block")}},
    "DINO, the backbone alone": lambda net, _: named("backbone.", net),
    "torch.compile": lambda net, _: {"model": {f"backbone._orig_mod.{k}": v for k, v in net.state_dict().items()}},
    "FSDP": lambda net, _: {k.replace("1.0.", "1.0._fsdp_wrapped_module."): v for k, v in net.state_dict().items()},
    "two copies of the same numbers": lambda net, _: {"model": net.state_dict(), "model_ema": net.state_dict()},
    "arguments beside it": lambda net, _: {"model": net.state_dict(), "args": ARGS},
    "before torch 0.4.1": lambda net, _: {k: v for k, v in net.state_dict().items() if "num_batches" not in k},
}


@pytest.mark.parametrize("layout", RESNETS)
def test_resnets(layout: str, tmp_path: pathlib.Path) -> None:
    """One network in the file: it is found, and gives the features that it gave."""
    net = resnet()
    same(loaded(saved(tmp_path, RESNETS[layout](net, net))), net)


# Layout -> the content around a network and its momentum copy, and the words for each of them.
PAIRS: dict[str, tuple[Callable[[nn.Module, nn.Module], Any], str, str]] = {
    "MoCo v2": (
        lambda net, copy: {
            "state_dict": {**named("module.encoder_q.", net), **named("module.encoder_k.", copy)},
            "optimizer": {},
        },
        "encoder_q",
        "encoder_k",
    ),
    "MoCo v3": (
        lambda net, copy: {
            "state_dict": {**named("module.base_encoder.", net), **named("module.momentum_encoder.", copy)},
        },
        "base_encoder",
        "momentum_encoder",
    ),
    "I-JEPA": (
        lambda net, copy: {"encoder": named("module.", net), "target_encoder": named("module.", copy), "epoch": 3},
        "encoder",
        "target_encoder",
    ),
    "BYOL in lightly": (
        lambda net, copy: {**named("backbone.", children(net)), **named("backbone_momentum.", children(copy))},
        "backbone",
        "backbone_momentum",
    ),
    "BYOL in solo-learn": (
        lambda net, copy: {"state_dict": {**named("backbone.", net), **named("momentum_backbone.", copy)}},
        "backbone",
        "momentum_backbone",
    ),
    "BYOL of lucidrains": (
        lambda net, copy: {
            **named("online_encoder.net.", net),
            **head("online_encoder.projector"),
            **named("target_encoder.net.", copy),
        },
        "online_encoder",
        "target_encoder",
    ),
    "DINO, to go on": (
        lambda net, copy: {
            "student": {**named("module.backbone.", net), **head("module.head.mlp")},
            "teacher": {**named("backbone.", copy), **head("head.mlp")},
            "args": ARGS,
        },
        "student",
        "teacher",
    ),
    "timm with an average": (lambda net, copy: {"state_dict": named("", net), "state_dict_ema": named("", copy)},
                             "state_dict", "state_dict_ema"),
    "one inside the other": (lambda net, copy: {**named("", net), **named("ema.", copy)}, "", "ema"),
}  # fmt: skip


@pytest.mark.parametrize("layout", PAIRS)
def test_online_and_momentum_network(layout: str, tmp_path: pathlib.Path) -> None:
    """Of two networks none is taken silently; the message has the words, and each word gives its network."""
    net, copy = resnet(), resnet()
    lay_out, *words = PAIRS[layout]
    file = saved(tmp_path, lay_out(net, copy))
    with pytest.raises(BackboneError, match=f"2 networks that fit.*'{words[0]}' and '{words[1]}'.*--from-network"):
        loaded(file)
    for word, original in zip(words, (net, copy), strict=True):
        same(loaded(file, network=word), original)
    with pytest.raises(BackboneError, match="no part 'tutor'"):
        loaded(file, network="tutor")


def decoder(count: int) -> State:
    return {
        "mask_token": torch.zeros(1, 1, 32),
        "decoder_pos_embed": torch.zeros(1, count, 8),
        **head("decoder_blocks"),
    }


def with_registers(net: nn.Module) -> State:
    """DINOv2's own layout: the class token has a position, and registers another name."""
    state = dict(net.state_dict())
    state["register_tokens"] = state.pop("reg_token")
    state["pos_embed"] = torch.cat([torch.zeros(1, 1, 32), state["pos_embed"]], 1)
    return {**state, "mask_token": torch.zeros(1, 32)}


VITS: dict[str, tuple[dict[str, Any], Callable[[nn.Module], Any]]] = {
    "MoCo v3": ({}, lambda net: {"state_dict": {**named("module.base_encoder.", net), **head("module.predictor"),
                                                **head("module.base_encoder.head")}, "arch": "vit"}),
    "MAE": ({}, lambda net: {"model": {**net.state_dict(), **decoder(5)}, "args": ARGS, "scaler": {"scale": 1.0}}),
    "DINOv2": ({"init_values": 1e-5}, lambda net: {**net.state_dict(), "mask_token": torch.zeros(1, 32)}),
    "DINOv2 with registers": ({"init_values": 1e-5, "reg_tokens": 4, "no_embed_class": True}, with_registers),
    "I-JEPA": ({"class_token": False, "global_pool": "avg", "fc_norm": False},
               lambda net: {"encoder": named("module.", net), "predictor": head("module.predictor_blocks")}),
    "timm with a classifier": ({}, lambda net: {**net.state_dict(), "head.weight": torch.zeros(9, 32),
                                                "head.bias": torch.zeros(9)}),
}  # fmt: skip


@pytest.mark.parametrize("layout", VITS)
def test_vision_transformers(layout: str, tmp_path: pathlib.Path) -> None:
    """Decoders, mask tokens, predictors and classifiers are left; older names are translated by timm."""
    arguments, lay_out = VITS[layout]
    net = vit(**arguments)
    file = saved(tmp_path, lay_out(net))
    same(loaded(file, "vit_tiny_patch16_224", kwargs={**TINY, **arguments}), net)


def test_positions_of_another_grid(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """timm's own function resamples them, and the line says so."""
    from timm.layers import resample_abs_pos_embed

    caplog.set_level(logging.INFO)
    net, wanted = vit(), vit(img_size=64)
    state = dict(net.state_dict())
    wanted.load_state_dict({**state, "pos_embed": resample_abs_pos_embed(state["pos_embed"], [4, 4])})
    file = saved(tmp_path, {"model": {**state, **decoder(5)}})
    same(loaded(file, "vit_tiny_patch16_224", size=64, kwargs=TINY), wanted, 64)
    assert "brought to this grid by timm: pos_embed [1, 5, 32] to [1, 17, 32]" in caplog.text


def test_safetensors_with_a_classifier(tmp_path: pathlib.Path) -> None:
    """A file, and a folder of the hub with its configuration or another library's."""
    net = resnet(num_classes=10)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    net.reset_classifier(0)
    same(loaded(tmp_path / "model.safetensors"), net)
    for config, known in (
        ('{"architecture": "resnet10t", "num_classes": 10}', "resnet10t"),
        ('{"architectures": []}', None),
    ):
        (tmp_path / "config.json").write_text(config)
        assert load_backbone_weights(tmp_path).backbone == known
        same(loaded(tmp_path), net)


def test_pickled_folder_of_the_hub(tmp_path: pathlib.Path) -> None:
    """`pytorch_model.bin` is read as well."""
    net = resnet()
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    same(loaded(tmp_path), net)


def test_before_torch_1_6(tmp_path: pathlib.Path) -> None:
    """The format without a zip archive, in which many published weights are."""
    net = resnet()
    torch.save({"state_dict": net.state_dict(), "args": ARGS.__class__(a=1)}, tmp_path / "old.pth.tar",
               _use_new_zipfile_serialization=False)  # fmt: skip
    same(loaded(tmp_path / "old.pth.tar"), net)


def test_torchvision_into_timm(tmp_path: pathlib.Path) -> None:
    """torchvision's ResNet-18 and timm's have the same names and give the same features."""
    net = shaken(torchvision.models.resnet18())
    file = saved(tmp_path, net.state_dict())
    net.fc = nn.Identity()
    found = loaded(file, "resnet18")
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(found(x), net(x))


def test_module_of_ones_own(tmp_path: pathlib.Path) -> None:
    """What timm does not build is given as a module: here a torchvision transformer's convolutions."""
    net = shaken(torchvision.models.squeezenet1_1().features)
    file = saved(tmp_path, {"state_dict": named("encoder.net.", net)})
    other = torchvision.models.squeezenet1_1().features
    loaded(file, other)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in net.state_dict().items())


def test_half_precision(tmp_path: pathlib.Path) -> None:
    """Weights that were saved in half precision become the backbone's own."""
    net = resnet().half()
    found = loaded(saved(tmp_path, net.state_dict()))
    assert torch.equal(found.conv1[0].weight, net.float().conv1[0].weight)


def test_line_says_what_was_loaded_and_left(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """In one line, with no escape of the file's."""
    caplog.set_level(logging.INFO)
    content = {
        "state_dict": {**named("module.", resnet()), **head("module.fc"), "\x1b[2Jx": torch.zeros(2)},
        "args": ARGS,
    }
    loaded(saved(tmp_path, content))
    (unread, line) = [record.getMessage() for record in caplog.records]
    assert "argparse.Namespace, pathlib" in unread
    assert line.endswith("loaded from 'state_dict.module', 90 tensors; left: state_dict.module.fc (2), "
                         r"state_dict.\x1b[2Jx (1)")  # fmt: skip


def larger(net: nn.Module) -> State:
    return {**net.state_dict(), "layer4.1.conv1.weight": torch.zeros(16, 16, 3, 3)}


def with_one(name: str, value: Any) -> Callable[[nn.Module], Any]:
    return lambda net: {**net.state_dict(), name: value}


REFUSED: dict[str, tuple[Callable[[nn.Module], Any], str]] = {
    "a deeper network": (larger, r"it has layer4\.1\.conv1\.weight, which this backbone has not; give the same"),
    "half of it": (
        lambda net: {f"backbone.{k}": v for k, v in net.state_dict().items() if "layer4" not in k},
        r"under 'backbone' 15 of 90 tensors are missing: there is no layer4\.0\.conv1\.weight \[16, 16, 3, 3\], .* 12 ",
    ),
    "other channels": (
        with_one("conv1.0.weight", torch.zeros(24, 1, 3, 3)),
        r"conv1\.0\.weight has shape \[24, 1, 3, 3\] there and \[24, 3, 3, 3\] here",
    ),
    "vit-pytorch": (
        lambda _: {"pos_embedding": torch.zeros(1, 5, 8), "transformer.layers.0.0.norm.weight": torch.zeros(8)},
        r"no tensor of it.*it has pos_embedding \[1, 5, 8\].*--backbone FILE\.py:NAME",
    ),
    "torchvision's transformer": (
        lambda _: torchvision.models.VisionTransformer(32, 16, 1, 2, 32, 32).state_dict(),
        r"no tensor of it.*--backbone FILE\.py:NAME",
    ),
    "Hugging Face transformers": (
        lambda _: {"embedder.embedder.convolution.weight": torch.zeros(64, 3, 7, 7)},
        r"no tensor of it.*--backbone FILE\.py:NAME",
    ),
    "integers": (with_one("bn1.weight", torch.zeros(64, dtype=torch.int8)), "holds torch.int8 there"),
    "complex numbers": (with_one("bn1.weight", torch.zeros(64, dtype=torch.complex64)), "complex64"),
    "no numbers": (with_one("bn1.weight", torch.zeros(64, device="meta")), "has no numbers there"),
    "sparse": (with_one("bn1.weight", torch.zeros(64).to_sparse()), "has no numbers there"),
    "quantized": (
        lambda net: {**net.state_dict(), "bn1.weight": torch.quantize_per_tensor(torch.zeros(64), 1.0, 0, torch.qint8)},
        "qint8",
    ),
    "not finite": (with_one("bn1.weight", torch.full((64,), float("nan"))), "not finite"),
    "no tensors": (lambda _: {"epoch": 3}, "no tensors by name"),
    "a tensor": (lambda _: torch.zeros(3), "no tensors by name|has the name"),
    "a list": (lambda net: [net.state_dict()], "no tensors by name"),
    "escapes": (lambda _: {"\x1b[2J\n": torch.zeros(2)}, r"\\x1b\[2J"),
    "one name twice": (lambda _: {"a.b": torch.zeros(1), "a": {"b": torch.zeros(1)}}, "two tensors of the name a.b"),
    "a long name": (lambda _: {"x" * 5000: torch.zeros(1)}, "more or longer names"),
    "many parts": (lambda _: {"a." * 400: torch.zeros(1)}, "more or longer names"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # torch's own, while the test makes such a tensor
def test_refused(kind: str, tmp_path: pathlib.Path) -> None:
    """Less than the backbone, another network, or no weights: one line says what, and what to do."""
    make, message = REFUSED[kind]
    file = saved(tmp_path, make(resnet()))
    with pytest.raises(SSLRegistryError, match=message) as caught:
        loaded(file)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


def test_part_that_is_switched_off(tmp_path: pathlib.Path) -> None:
    """Names and shapes fit, yet another function: registers, CLIP's first norm."""
    for extra in ({"register_tokens": torch.zeros(1, 4, 32)}, {"norm_pre.weight": torch.zeros(32)}):
        file = saved(tmp_path, {**vit().state_dict(), **extra})
        with pytest.raises(BackboneError, match=f"it has {next(iter(extra))}, which this backbone has not"):
            loaded(file, "vit_tiny_patch16_224", kwargs=TINY)


def test_patches_of_another_size(tmp_path: pathlib.Path) -> None:
    """They are not resampled: it is another network."""
    file = saved(tmp_path, vit(patch_size=8, img_size=16).state_dict())
    with pytest.raises(BackboneError, match=r"patch_embed\.proj\.weight has shape \[32, 3, 8, 8\] there"):
        loaded(file, "vit_tiny_patch16_224", kwargs=TINY)


@pytest.mark.parametrize("content", [b"", b"half", b"PK\x03\x04", b"\x80\x02", b"\x80\x02}q\x00.", b"\x1b[2J" * 9])
def test_damaged(content: bytes, tmp_path: pathlib.Path) -> None:
    """No file that torch wrote: one line."""
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint") as caught:
        load_backbone_weights(tmp_path / "x.pth")
    assert str(caught.value).isprintable()


class Exploit:
    """Makes a file whose reading would call a function."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call = (call, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_code_is_not_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file would call is not called: weights beside it are read, and the line names it."""
    import os
    import subprocess

    monkeypatch.chdir(tmp_path)
    net = resnet()
    for call, arguments in ((exec, ("open('canary', 'w')",)), (subprocess.Popen, (["touch", "canary"],))):
        file = saved(tmp_path, {"model": net.state_dict(), "args": Exploit(call, *arguments)})
        same(loaded(file), net)
        assert read_content(file)[1]
    file = saved(tmp_path, {"model": net.state_dict(), "args": Exploit(os.system, "touch canary")})
    with pytest.raises(CheckpointError, match="holds code, which is refused"):
        loaded(file)
    assert not (tmp_path / "canary").exists()


def test_objects_beside_the_weights(tmp_path: pathlib.Path) -> None:
    """Numbers of NumPy, mappings of other classes, sets: an empty object stands for what is not plain."""
    net = resnet()
    beside = {"best": np.float64(0.5), "all": np.zeros(3), "logs": collections.defaultdict(list, {"a": [1]}), "s": {1}}
    same(loaded(saved(tmp_path, {"model": net.state_dict(), **beside})), net)


def test_pickled_module(tmp_path: pathlib.Path) -> None:
    """A module is code; the message says how its weights are written."""
    with pytest.raises(CheckpointError, match=r"objects of .*ResNet.*, which are not built; .*model\.state_dict\(\)"):
        loaded(saved(tmp_path, resnet()))


def test_deep_and_wide_trees(tmp_path: pathlib.Path) -> None:
    """A tree that a few bytes describe and no memory holds is refused at once."""
    tree: Any = {"w": torch.zeros(1)}
    for _ in range(12):
        tree = dict.fromkeys("abcdefgh", tree)
    with pytest.raises(CheckpointError, match="more or longer names"):
        loaded(saved(tmp_path, tree))
