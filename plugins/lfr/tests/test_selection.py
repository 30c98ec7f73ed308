"""The choice of targets: diverse, deterministic, always k, and part of the model's state."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ssl_registry_lfr import selection
from ssl_registry_lfr.dpp import greedy_dpp
from ssl_registry_lfr.selection import TargetSelection, select, similarity_signatures
from torch import Tensor, nn
from torch.nn import functional as F

properties = settings(deadline=None, derandomize=True, max_examples=100)
seeds = st.integers(0, 10**6)


def kernel_of(seed: int, size: int, rank: int, *, unit: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(size, rank, dtype=torch.float64, generator=generator)
    if unit:
        factor = F.normalize(factor, dim=1)
    return factor @ factor.T


def naive_greedy(kernel: Tensor, k: int) -> list[int]:
    """Try every remaining item in every step, with a determinant each."""
    chosen: list[int] = []
    for _ in range(k):
        rest = [i for i in range(len(kernel)) if i not in chosen]
        gains = [torch.linalg.det(kernel[[*chosen, i]][:, [*chosen, i]]).item() for i in rest]
        chosen.append(rest[gains.index(max(gains))])
    return chosen


@properties
@given(seeds, st.integers(1, 9), st.data())
def test_is_the_greedy_algorithm(seed, size, data):
    """The incremental gains choose what determinants of every candidate set would."""
    k = data.draw(st.integers(1, size))
    kernel = kernel_of(seed, size, size + 3)
    assert greedy_dpp(kernel, k) == naive_greedy(kernel, k)


@properties
@given(seeds, st.integers(1, 12), st.integers(1, 4), st.booleans(), st.data())
def test_always_k_distinct(seed, size, rank, unit, data):
    """A kernel of low rank still gives k distinct indices."""
    k = data.draw(st.integers(1, size))
    chosen = greedy_dpp(kernel_of(seed, size, rank, unit=unit), k)
    assert len(chosen) == len(set(chosen)) == k
    assert all(type(index) is int and 0 <= index < size for index in chosen)


@properties
@given(seeds, st.integers(2, 10), st.integers(1, 4))
def test_rank_is_exhausted_before_repeats(seed, size, rank):
    """The first rank-many items span the kernel; only then come redundant ones."""
    rank = min(rank, size)
    kernel = kernel_of(seed, size, rank, unit=True)
    chosen = greedy_dpp(kernel, size)[:rank]
    assert torch.linalg.matrix_rank(kernel[chosen][:, chosen], tol=1e-7) == rank


@pytest.mark.parametrize(
    "kernel", [torch.eye(5), torch.ones(5, 5), torch.zeros(5, 5)], ids=["all differ", "all equal", "nothing"]
)
def test_ties_go_to_the_first(kernel):
    """Where all gains are equal the order is the candidates' own."""
    assert greedy_dpp(kernel, 3) == [0, 1, 2]


@properties
@given(seeds, st.integers(2, 9))
def test_rounding_does_not_break_ties(seed, size):
    """A difference of rounding is no difference."""
    noise = torch.rand(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    kernel = torch.eye(size, dtype=torch.float64) + 1e-13 * (noise + noise.T)
    assert greedy_dpp(kernel, size) == list(range(size))


def test_scale_does_not_matter():
    """The tolerance is relative, so tiny kernels are chosen from as well."""
    kernel = kernel_of(0, 8, 10)
    assert greedy_dpp(1e-12 * kernel, 5) == greedy_dpp(kernel, 5) == greedy_dpp(1e12 * kernel, 5)


def test_kernel_is_left_alone():
    """Choosing does not write into its argument."""
    kernel = kernel_of(0, 5, 5)
    before = kernel.clone()
    greedy_dpp(kernel, 3)
    assert torch.equal(kernel, before)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_must_fit(k):
    """Fewer than asked is an error, never a shorter list."""
    with pytest.raises(ValueError, match=f"{k} of 3 candidates"):
        greedy_dpp(torch.eye(3), k)


def test_kernel_must_be_square_and_finite():
    """What is no kernel is named."""
    with pytest.raises(ValueError, match=r"square.*\[2, 3\]"):
        greedy_dpp(torch.ones(2, 3), 1)
    with pytest.raises(ValueError, match="not finite"):
        greedy_dpp(torch.tensor([[1.0, torch.nan], [torch.nan, 1.0]]), 1)


def outputs_of(seed: int, candidates: int, batch: int) -> list[Tensor]:
    """Candidates of several widths and shapes."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, 3), (batch, 5), (batch, 2, 4)]
    return [torch.randn(shapes[i % 3], generator=generator) for i in range(candidates)]


@properties
@given(seeds, st.integers(1, 6), st.integers(1, 6))
def test_signature_is_the_flattened_cosine_matrix(seed, candidates, batch):
    """Row i holds candidate i's similarities between samples, scaled to norm 1, in float64."""
    outputs = outputs_of(seed, candidates, batch)
    found = similarity_signatures(outputs)
    assert found.shape == (candidates, batch * batch)
    assert found.dtype == torch.float64
    for row, output in zip(found, outputs, strict=True):
        flat = output.double().flatten(1)
        cosines = torch.stack([F.cosine_similarity(one[None], flat) for one in flat]).flatten()
        torch.testing.assert_close(row, cosines / cosines.norm())


@properties
@given(seeds, st.integers(1, 12), st.data())
def test_rows_choose_what_the_whole_kernel_chooses(seed, candidates, data):
    """Only rows of chosen candidates are made; the picks are those of the full matrix."""
    k = data.draw(st.integers(1, candidates))
    outputs = outputs_of(seed, candidates, 5)
    signatures = similarity_signatures(outputs)
    assert select(outputs, k) == greedy_dpp(signatures @ signatures.T, k)


def test_signatures_are_made_some_at_a_time(monkeypatch):
    """Blocks of candidates give what all at once give."""
    outputs = outputs_of(0, 9, 4)
    wanted = similarity_signatures(outputs)
    monkeypatch.setattr(selection, "AT_ONCE", 40)
    torch.testing.assert_close(similarity_signatures(outputs), wanted)


def test_equal_candidates_are_chosen_once():
    """A rescaled and rotated copy sees the batch in the same way, and is chosen last."""
    first, second = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    assert set(select([first, 5 * first @ rotation, second], 2)) == {0, 2}


def test_dead_candidates_are_chosen_last():
    """An output of zeros tells nothing, and does no harm."""
    outputs = [torch.zeros(4, 3), *outputs_of(0, 3, 4)]
    assert 0 not in select(outputs, 3)
    assert sorted(select(outputs, 4)) == [0, 1, 2, 3]


@properties
@given(seeds, st.integers(1, 8), st.data())
def test_selection_is_repeatable(seed, candidates, data):
    """The same outputs give the same k, on every rank and in every run."""
    k = data.draw(st.integers(1, candidates))
    outputs = outputs_of(seed, candidates, 5)
    assert select(outputs, k) == select([output.clone() for output in outputs], k)


def test_outputs_must_be_of_one_batch():
    """No outputs, or outputs of different batches, cannot be compared."""
    with pytest.raises(ValueError, match="no candidates"):
        select([], 1)
    with pytest.raises(ValueError, match=r"different batches: \[4, 5\]"):
        select([torch.ones(4, 2), torch.ones(5, 2)], 1)


def test_outputs_that_are_not_finite():
    """A candidate that overflows is named as such, not silently preferred."""
    with pytest.raises(ValueError, match="not finite"):
        select([torch.ones(3, 2), torch.full((3, 2), torch.inf)], 1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.selection = TargetSelection(3)


def chosen_model() -> Model:
    model = Model()
    model.selection.choose([7, 0, 4])
    model.selection.backbone_steps += 5
    return model


def test_starts_with_the_first():
    """Before a choice the first k are the targets, and the state says so."""
    selection = TargetSelection(3)
    assert selection.as_list() == [0, 1, 2]
    assert not selection.is_chosen
    assert selection.backbone_steps == 0


def test_state_is_in_the_checkpoint():
    """Choice and count are persistent buffers of one shape before and after the choice."""
    model, fresh = chosen_model(), Model()
    state = model.state_dict()
    assert {key: value.dtype for key, value in state.items()} == {
        "selection.indices": torch.long,
        "selection.chosen": torch.bool,
        "selection.backbone_steps": torch.long,
    }
    assert [value.shape for value in state.values()] == [value.shape for value in fresh.state_dict().values()]
    assert list(fresh.parameters()) == []


@pytest.mark.parametrize("assign", [False, True])
def test_loading_replaces_what_is_known(assign):
    """A list that was asked for before loading does not outlive it."""
    fresh = Model()
    assert fresh.selection.as_list() == [0, 1, 2]
    fresh.load_state_dict(chosen_model().state_dict(), assign=assign)
    assert fresh.selection.as_list() == [7, 0, 4]
    assert fresh.selection.is_chosen
    assert fresh.selection.backbone_steps == 5


def test_choosing_again_replaces_what_is_known():
    """The list follows the latest choice, in its order."""
    selection = TargetSelection(2)
    for indices in ([1, 3], [5, 2]):
        selection.choose(indices)
        assert selection.as_list() == indices


def test_broadcast_buffers_are_noticed():
    """DDP writes into buffers from outside; the list follows."""
    selection = TargetSelection(2)
    selection.as_list()
    with torch.no_grad():
        selection.indices.copy_(torch.tensor([8, 9]))
    assert selection.as_list() == [8, 9]


def test_reading_does_not_ask_the_device_again(monkeypatch):
    """Only the first call reads the buffer."""
    selection = chosen_model().selection
    selection.as_list()
    monkeypatch.setattr(Tensor, "tolist", lambda _: pytest.fail("read the buffer again"))
    assert selection.as_list() == [7, 0, 4]


def test_list_is_the_callers_own():
    """Changing the list does not change the choice; its entries are Python integers."""
    selection = chosen_model().selection
    selection.as_list().clear()
    assert selection.as_list() == [7, 0, 4]
    assert all(type(index) is int for index in selection.as_list())


@pytest.mark.parametrize(
    "remake",
    [
        copy.deepcopy,
        lambda m: pickle.loads(pickle.dumps(m)),
        lambda m: m.to(torch.float64),
        lambda m: m.double(),
    ],
    ids=["copy", "pickle", "to", "double"],
)
def test_survives_copies_and_moves(remake):
    """The choice comes along, and a copy's later choice is its own."""
    model = chosen_model()
    model.selection.as_list()
    twin = remake(model)
    assert twin.selection.as_list() == [7, 0, 4]
    assert twin.selection.indices.dtype == torch.long
    twin.selection.choose([1, 2, 3])
    assert twin.selection.as_list() == [1, 2, 3]
    if twin is not model:
        assert model.selection.as_list() == [7, 0, 4]


def test_reads_in_inference_mode():
    """A selection made in inference mode, whose tensors have no version, can be read."""
    with torch.inference_mode():
        selection = TargetSelection(2)
        selection.choose([3, 1])
        assert selection.as_list() == [3, 1]


@pytest.mark.parametrize("indices", [[0, 1], [0, 1, 1], [0, 1, 2, 3], [-1, 0, 1]])
def test_choice_must_be_k_distinct(indices):
    """Fewer than k, or the same twice, is an error, and the choice stays as it was."""
    selection = TargetSelection(3)
    with pytest.raises(ValueError, match="3 distinct indices"):
        selection.choose(indices)
    assert selection.as_list() == [0, 1, 2]
    assert not selection.is_chosen


def test_k_of_zero_is_refused():
    """There must be a target."""
    with pytest.raises(ValueError, match="k=0"):
        TargetSelection(0)


def test_steps_are_counted_and_loaded():
    """What is counted is in the buffer, and a count that came from elsewhere is gone on from."""
    model = chosen_model()
    model.selection.count_step()
    assert model.selection.steps == model.selection.backbone_steps == 6
    fresh = Model()
    fresh.selection.count_step()
    fresh.load_state_dict(model.state_dict())
    fresh.selection.count_step()
    assert fresh.selection.steps == fresh.selection.backbone_steps == 7
    twin = copy.deepcopy(fresh)
    twin.selection.count_step()
    assert (twin.selection.steps, fresh.selection.steps) == (8, 7)
