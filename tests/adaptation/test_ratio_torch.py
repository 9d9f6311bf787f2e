"""The projection in torch: the same values, and gradients that finite differences confirm."""

import numpy as np
import pytest
import torch

from niwaki.adaptation.budget import GaussianShift
from niwaki.adaptation.ratio import project
from niwaki.adaptation.ratio_torch import project_torch, shift_torch
from niwaki.policies.gaussian import Gaussian


def problem(n=12, seed=0, reach=1.5):
    rng = np.random.default_rng(seed)
    base_std = np.exp(rng.normal(size=(n, 2)) / 2)
    base_mean = rng.normal(size=(n, 2))
    mean = base_mean + base_std * rng.normal(size=(n, 2)) * reach
    std = base_std * np.exp(rng.normal(size=(n, 2)) / 2)
    return [torch.tensor(v) for v in (mean, std, base_mean, base_std, np.exp(rng.normal(size=n)))]


def test_the_values_are_those_of_the_numpy_projection():
    arguments = problem()
    mean, std = project_torch(*arguments)
    found = project(*(v.numpy() for v in arguments))
    assert np.array_equal(mean.numpy(), found.mean)
    assert np.array_equal(std.numpy(), found.std)


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_the_one_of_finite_differences(seed):
    """Some states bind, some do not, and some components are wider than the base."""
    mean, std, base_mean, base_std, limit = problem(seed=seed)
    found = project(*(v.numpy() for v in (mean, std, base_mean, base_std, limit)))
    assert (found.multiplier > 0).any()

    def both(a, b):
        return project_torch(a, b, base_mean, base_std, limit)

    arguments = (mean.requires_grad_(), std.requires_grad_())
    assert torch.autograd.gradcheck(both, arguments, eps=1e-6, atol=2e-5, rtol=1e-4)


def test_where_nothing_binds_the_gradient_passes_through():
    mean, std, base_mean, base_std, _ = problem()
    std = base_std * 0.5
    mean.requires_grad_(), std.requires_grad_()
    new_mean, new_std = project_torch(mean, std, base_mean, base_std, 1e6)
    (new_mean.sum() + 2 * new_std.sum()).backward()
    assert (mean.grad == 1).all()
    assert (std.grad == 2).all()


def test_at_alpha_one_there_is_no_gradient():
    mean, std, base_mean, base_std, _ = problem()
    mean.requires_grad_()
    new_mean, _ = project_torch(mean, std, base_mean, base_std, 0.0)
    new_mean.sum().backward()
    assert torch.equal(new_mean, base_mean)
    assert (mean.grad == 0).all()


def test_float32_goes_in_and_comes_out():
    mean, std, base_mean, base_std, limit = (v.float() for v in problem())
    mean.requires_grad_()
    new_mean, new_std = project_torch(mean, std, base_mean, base_std, limit)
    new_mean.sum().backward()
    assert (new_mean.dtype, new_std.dtype, mean.grad.dtype) == (torch.float32,) * 3


def test_following_the_gradient_through_the_projection_reaches_a_goal_that_is_allowed():
    """The nearest allowed policy to the right task is the goal: descent finds a task that projects onto it."""
    _, _, base_mean, base_std, limit = problem(n=5)
    goal = torch.tensor(project(base_mean.numpy() + 3, base_std.numpy() * 0.7, base_mean, base_std, limit).mean)
    mean = base_mean.clone().requires_grad_()
    optimizer, losses = torch.optim.Adam([mean], lr=0.1), []
    for _ in range(100):
        new_mean, _ = project_torch(mean, base_std * 0.7, base_mean, base_std, limit)
        losses.append(((new_mean - goal) ** 2).sum())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.02 * losses[0]


def test_the_gaussian_budgets_projection_has_its_values_and_gradient():
    mean, _, base_mean, base_std, _ = problem(n=30)
    budget = GaussianShift(risk=0.01, horizon=4, shift=1.5)
    memory = np.linspace(0, 4, 30)
    task, base = Gaussian(mean.numpy(), base_std.numpy()), Gaussian(base_mean.numpy(), base_std.numpy())
    allowed = torch.from_numpy(budget.allowed(1, memory))
    found = shift_torch(mean, base_mean, base_std, allowed)
    expected = budget.project(1, memory, task, base)
    assert found[0].numpy() == pytest.approx(expected.mean, abs=1e-14)
    assert np.array_equal(found[1].numpy(), expected.std)
    mean.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: shift_torch(m, base_mean, base_std, allowed)[0], mean)


def test_the_gaussian_budgets_projection_lets_the_gradient_pass_at_the_base_itself():
    base_mean = torch.zeros((1, 2), dtype=torch.float64)
    mean = base_mean.clone().requires_grad_()
    shift_torch(mean, base_mean, torch.ones_like(base_mean), torch.tensor([0.5]))[0].sum().backward()
    assert mean.grad.tolist() == [[1.0, 1.0]]
