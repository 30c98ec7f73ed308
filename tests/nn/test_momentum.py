"""The moving average follows its formula and notices changed networks; a teacher stays a teacher."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from ssl_registry.nn import MomentumTeacher, deactivate_requires_grad, update_momentum

properties = settings(deadline=None, derandomize=True, max_examples=60)
momenta = st.floats(0, 1)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, bias=False))


def expected(online: nn.Module, target: nn.Module, m: float) -> list[torch.Tensor]:
    pairs = zip(online.parameters(), target.parameters(), strict=True)
    return [m * b.detach().double() + (1 - m) * a.detach().double() for a, b in pairs]


def assert_is(module: nn.Module, wanted: list[torch.Tensor]) -> None:
    torch.testing.assert_close([p.detach().double() for p in module.parameters()], wanted, rtol=1e-6, atol=1e-7)


@properties
@given(momenta, st.integers(0, 99))
def test_update_is_the_formula(m, seed):
    """Each parameter becomes m * ema + (1 - m) * parameter; the online network is left alone."""
    online, target = network(seed), network(seed + 1)
    before, wanted = copy.deepcopy(online.state_dict()), expected(online, target, m)
    update_momentum(online, target, m)
    assert_is(target, wanted)
    torch.testing.assert_close(online.state_dict(), before, rtol=0, atol=0)


def test_parts_are_averaged_in_their_order():
    """The online network may be given as its parts, of which a target is one whole."""
    parts = network(0), nn.Linear(2, 3)
    target = nn.Sequential(network(1), nn.Linear(2, 3))
    wanted = expected(nn.Sequential(*parts), target, 0.3)
    update_momentum(parts, target, 0.3)
    assert_is(target, wanted)


@pytest.mark.parametrize(("m", "source"), [(0.0, "online"), (1.0, "target")])
def test_ends_are_exact(m, source):
    """Momentum 0 copies and momentum 1 keeps, to the last bit."""
    networks = {"online": network(0), "target": network(1)}
    wanted = [p.detach().clone() for p in networks[source].parameters()]
    update_momentum(networks["online"], networks["target"], m)
    assert all(map(torch.equal, networks["target"].parameters(), wanted))


def test_buffers_stay_the_targets_own():
    """BatchNorm's statistics are not averaged."""
    online, target = network(0), network(1)
    online(torch.randn(8, 3) + 5)
    before = {name: buffer.clone() for name, buffer in target.named_buffers()}
    update_momentum(online, target, 0.5)
    assert all(torch.equal(buffer, before[name]) for name, buffer in target.named_buffers())


def test_update_leaves_no_graph():
    """A target that requires gradients is still moved outside of autograd."""
    online, target = network(0), network(1)
    update_momentum(online, target, 0.5)
    assert all(p.is_leaf and p.grad_fn is None and p.requires_grad for p in target.parameters())


@pytest.mark.parametrize("m", [-0.1, 1.1, math.nan])
def test_momentum_out_of_range_is_refused(m):
    """A momentum outside [0, 1] is an error, not an extrapolation."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        update_momentum(network(), network(), m)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (nn.Linear(3, 4), "6 parameters|5 parameters"),
        (
            nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(2, 4, bias=False)),
            r"2.weight of the target",
        ),
        (network().double(), "torch.float32 on cpu.*torch.float64 on cpu"),
        (network().to("meta"), "on cpu.*on meta"),
    ],
    ids=["count", "shape", "dtype", "device"],
)
def test_networks_that_do_not_match_are_refused(target, words):
    """The error names what differs before anything is moved."""
    with pytest.raises(ValueError, match=words):
        update_momentum(network(), target, 0.5)


def test_network_that_moved_alone_is_named():
    """`.to()` keeps the parameters' identity; the error is still in words."""
    online, target = network(0), network(1)
    update_momentum(online, target, 0.5)
    online.double()
    with pytest.raises(ValueError, match=r"torch\.float64.*torch\.float32"):
        update_momentum(online, target, 0.5)
    target.double()
    wanted = expected(online, target, 0.5)
    update_momentum(online, target, 0.5)
    assert_is(target, wanted)


def replace_parameter(model: nn.Sequential) -> None:
    model[0].weight = nn.Parameter(torch.ones(4, 3))


def replace_submodule(model: nn.Sequential) -> None:
    model[3] = nn.Linear(4, 2, bias=False)


def load_by_assignment(model: nn.Sequential) -> None:
    model.load_state_dict(network(7).state_dict(), assign=True)


@pytest.mark.parametrize("change", [replace_parameter, replace_submodule, load_by_assignment])
@pytest.mark.parametrize("which", [0, 1], ids=["online", "target"])
def test_replaced_parameters_are_noticed(change, which):
    """Parameters that are no longer part of the network are not what is averaged."""
    networks = network(0), network(1)
    update_momentum(*networks, 0.5)
    change(networks[which])
    wanted = expected(*networks, 0.9)
    update_momentum(*networks, 0.9)
    assert_is(networks[1], wanted)


def test_another_online_network_is_noticed():
    """One target may follow one network and then another."""
    first, second, target = network(0), network(1), network(2)
    update_momentum(first, target, 0.5)
    wanted = expected(second, target, 0.9)
    update_momentum(second, target, 0.9)
    assert_is(target, wanted)


@pytest.mark.parametrize("given", [tuple, lambda parts: nn.Sequential(*parts)], ids=["parts", "made on the spot"])
def test_lists_are_made_once(given, monkeypatch):
    """As long as nothing was replaced, the networks are not walked again."""
    parts, target = (network(0), nn.Linear(2, 3)), nn.Sequential(network(1), nn.Linear(2, 3))
    update_momentum(given(parts), target, 0.5)
    monkeypatch.setattr(nn.Module, "named_modules", lambda *_: pytest.fail("walked through the modules"))
    update_momentum(given(parts), target, 0.5)


def test_networks_are_not_kept_alive():
    """What is remembered goes with the target."""
    online, target = network(0), network(1)
    update_momentum(online, target, 0.5)
    gone = weakref.ref(online), weakref.ref(target)
    del online, target
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copy_averages_the_copy(remake):
    """A copied model's update moves the copy's target and leaves the original's."""
    model = nn.ModuleDict({"online": network(0), "target": network(1)})
    update_momentum(model["online"], model["target"], 0.5)
    twin = remake(model)
    before = [p.detach().clone() for p in model["target"].parameters()]
    wanted = expected(twin["online"], twin["target"], 0.5)
    update_momentum(twin["online"], twin["target"], 0.5)
    assert_is(twin["target"], wanted)
    assert all(map(torch.equal, model["target"].parameters(), before))


def test_follows_sharded_networks(tmp_path):
    """Fully sharded networks have other parameters; they are noticed and averaged shard by shard."""
    online, target = network(0), network(1)
    update_momentum(online, target, 0.5)
    wanted = expected(online, target, 0.9)
    dist.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        for part in (online, target):
            fully_shard(part, mesh=mesh)
        update_momentum(online, target, 0.9)
        found = [p.detach().full_tensor().double() for p in target.parameters()]
    finally:
        dist.destroy_process_group()
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


def test_deactivate_requires_grad():
    """Every parameter's gradient is off, buffers and modes as they were."""
    model = network()
    deactivate_requires_grad(model)
    assert not any(p.requires_grad for p in model.parameters())
    assert model.training


def student() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_teacher_is_a_copy_without_gradient():
    """Its parts have the student's values and keys, and share nothing with it."""
    backbone, head = student(), nn.Linear(2, 5)
    teacher = MomentumTeacher(backbone, head)
    whole = nn.Sequential(backbone, head)
    torch.testing.assert_close(teacher.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert not {id(p) for p in teacher.parameters()} & {id(p) for p in whole.parameters()}
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in whole.parameters())


def test_teacher_gives_no_gradient():
    """Not even to its input."""
    x = torch.randn(4, 3, requires_grad=True)
    assert not MomentumTeacher(student())(x).requires_grad


@pytest.mark.parametrize("call", [lambda teacher: teacher, lambda teacher: teacher.eval().train()])
def test_teacher_in_training_drops_nothing(call):
    """BatchNorm uses the batch's statistics; dropout is for the student."""
    network, x = student(), torch.randn(8, 3)
    teacher = call(MomentumTeacher(network))
    expected = network[3](nn.functional.batch_norm(network[0](x), None, None, training=True))
    torch.testing.assert_close(teacher(x), expected.detach())
    assert teacher[0][1].num_batches_tracked == 1


def test_teacher_in_evaluation_uses_running_statistics():
    """As any network does."""
    teacher, x = MomentumTeacher(student()).eval(), torch.randn(8, 3)
    torch.testing.assert_close(teacher(x), student().eval()(x).detach())


def test_teacher_leaves_the_students_mode():
    """The copy alone changes."""
    network = student()
    MomentumTeacher(network)
    assert all(part.training for part in network.modules())


def test_teacher_follows_its_student():
    """By `update_momentum` of the parts that it was made of."""
    backbone, head = student(), nn.Linear(2, 5)
    teacher = MomentumTeacher(backbone, head)
    for parameter in (*backbone.parameters(), *head.parameters()):
        nn.init.normal_(parameter)
    wanted = expected(nn.Sequential(backbone, head), teacher, 0.3)
    update_momentum((backbone, head), teacher, 0.3)
    assert_is(teacher, wanted)


def test_slice_of_a_teacher_is_no_copy():
    """It holds the same modules."""
    teacher = MomentumTeacher(student(), nn.Linear(2, 5))
    assert type(teacher[:1]) is nn.Sequential
    assert teacher[:1][0] is teacher[0]


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copy_of_a_teacher_is_one(remake):
    """With the same modes and values."""
    teacher = remake(MomentumTeacher(student()))
    assert [part.training for part in teacher.train()[0]] == [False, True, False, False]
    torch.testing.assert_close(teacher.state_dict(), MomentumTeacher(student()).state_dict())


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """Neither a teacher's output, nor its step; a fake network cannot be copied, so the teacher gets one of its own."""
    student, teacher = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    teacher = MomentumTeacher().append(teacher)
    update_momentum(student, teacher, 0.9)
    assert teacher(torch.randn(4, 3)).device.type == "cuda"
