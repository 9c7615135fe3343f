"""The contrastive loss against its formula, written once more as a loop over numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluation.errors import BenchError
from sat.knowledge.contrastive import contrastive_loss


def by_the_formula(
    a: Tensor, b: Tensor, of_a: list[int], of_b: list[int], form: str, mask: bool, tau: float
) -> Tensor:
    n = len(a)
    a = torch.stack([row / row.norm() for row in a])
    b = torch.stack([row / row.norm() for row in b])

    def negative(i: int, k: int) -> bool:
        if i == k:
            return False
        # b_k is right for a_i also by a pair of the batch that says so.
        by_a_pair = any(of_a[m] == of_a[i] and of_b[m] == of_b[k] for m in range(n))
        return not mask or not (by_a_pair or of_a[i] == of_b[k])

    means = []
    for flipped in (False, True):
        terms = []
        for i in range(n):
            entries = [(k, i) if flipped else (i, k) for k in range(n)]
            exponentials = [((a[p] * b[q]).sum() / tau).exp() for p, q in entries if negative(p, q)]
            positive = ((a[i] * b[i]).sum() / tau).exp()
            if form == "infonce":
                terms.append(-(positive / sum(exponentials, positive)).log() / 2)
            elif exponentials:
                terms.append(-(positive / sum(exponentials)).log())
        means.append(sum(terms) / max(1, len(terms)) if terms else (a.sum() + b.sum()) * 0)
    return means[0] + means[1]


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 7),
    kinds=st.integers(1, 9),
    form=st.sampled_from(["infonce", "eq4"]),
    mask=st.booleans(),
    seed=st.integers(0, 999),
)
def test_value_and_gradient_are_those_of_the_formula(n, kinds, form, mask, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    groups = torch.randint(kinds, (2, n), generator=generator)
    ours, theirs = [], []
    for store, function in ((ours, None), (theirs, by_the_formula)):
        x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
        if function is None:
            value = contrastive_loss(
                x, y, groups[0], groups[1], temperature=0.3, form=form, mask_duplicates=mask
            )
        else:
            value = function(x, y, groups[0].tolist(), groups[1].tolist(), form, mask, 0.3)
        value.backward()
        store += [value.detach().double(), x.grad, y.grad]
    for mine, expected in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, expected, atol=2e-5, rtol=1e-4)


def test_eq4_reaches_its_lower_bound_and_infonce_zero():
    # Two antipodal points: every negative is at cosine -1.
    a = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(contrastive_loss(a, a, form="eq4")) == pytest.approx(-4 / 0.07, rel=1e-6)
    assert float(contrastive_loss(a, a)) == pytest.approx(0, abs=1e-6)
    # Four rows of one direction each against its opposite: the bound 2 (log(N - 1) - 2 / tau).
    lower = 2 * (math.log(3) - 2 / 0.07)
    simplex = torch.eye(4) - 0.25
    assert float(contrastive_loss(simplex, simplex, form="eq4")) > lower


def test_length_of_the_features_does_not_matter():
    torch.manual_seed(1)
    a, b = torch.randn(6, 8), torch.randn(6, 8)
    for form in ("infonce", "eq4"):
        near = contrastive_loss(a, b, form=form)
        far = contrastive_loss(a * torch.arange(1, 7)[:, None], b * 300, form=form)
        assert float(near) == pytest.approx(float(far), rel=1e-4)


def test_the_pull_of_infonce_fades_and_that_of_eq4_does_not():
    pulls = {}
    for form in ("infonce", "eq4"):
        a = torch.tensor([[1.0, 0.3, 0.0], [-1.0, 0.3, 0.0]], requires_grad=True)
        b = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
        contrastive_loss(a, b, form=form).backward()
        assert a.grad is not None
        pulls[form] = float(a.grad.norm())
    assert pulls["infonce"] < 1e-5
    assert pulls["eq4"] > 1


def test_a_duplicate_gets_no_push():
    torch.manual_seed(2)
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    twice_a, twice_b = torch.cat([a, a[:1]]), torch.cat([b, b[:1]])
    concepts = torch.tensor([0, 1, 2, 0])
    copies = contrastive_loss(twice_a, twice_b, concepts)
    literal = contrastive_loss(twice_a, twice_b, concepts, mask_duplicates=False)
    assert float(literal) > float(copies)
    # A batch of copies only weighs its rows: each of the three original terms stays what it was.
    thrice = contrastive_loss(
        torch.cat([a, a, a]), torch.cat([b, b, b]), torch.arange(3).repeat(3), temperature=0.5
    )
    weights = torch.tensor([3.0, 3.0, 3.0]).log()
    similarity = (
        torch.nn.functional.normalize(a, dim=-1) @ torch.nn.functional.normalize(b, dim=-1).T / 0.5
    )
    heavy = similarity + weights * (1 - torch.eye(3))
    expected = (heavy.logsumexp(1) + heavy.T.logsumexp(1)) / 2 - similarity.diagonal()
    assert float(thrice) == pytest.approx(float(expected.mean()), rel=1e-5)
    # The same text on the other side (`organ` as a head, and as a tail) is no negative either.
    crossed = contrastive_loss(a, b, torch.tensor([0, 1, 2]), torch.tensor([3, 0, 4]))
    apart = contrastive_loss(a, b, torch.tensor([0, 1, 2]), torch.tensor([3, 5, 4]))
    assert float(crossed) < float(apart)


def test_batches_of_one_and_batches_without_negatives():
    a = torch.randn(1, 4)
    assert float(contrastive_loss(a, a)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(BenchError, match="too few rows"):
        contrastive_loss(a, a, form="eq4")
    for form in ("infonce", "eq4"):
        same = torch.randn(3, 4, requires_grad=True)
        loss = contrastive_loss(same, same.detach(), torch.zeros(3, dtype=torch.long), form=form)
        loss.backward()
        assert same.grad is not None
        assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
        assert torch.isfinite(same.grad).all()


def test_wrong_shapes_are_refused():
    with pytest.raises(BenchError, match="do not match"):
        contrastive_loss(torch.randn(3, 4), torch.randn(2, 4))
    with pytest.raises(BenchError, match="groups"):
        contrastive_loss(torch.randn(3, 4), torch.randn(3, 4), torch.arange(2))
    with pytest.raises(BenchError, match="temperature"):
        contrastive_loss(torch.randn(3, 4), torch.randn(3, 4), temperature=0.0)
