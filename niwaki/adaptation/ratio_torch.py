"""The projections of `niwaki.adaptation.ratio` and of the Gaussian budget as torch functions, with exact gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from niwaki.adaptation.ratio import project


def project_torch(
    mean: Tensor, std: Tensor, base_mean: Tensor, base_std: Tensor, log_alpha: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Mean and deviation [B, A] of the nearest policy whose log ratio is nowhere above log_alpha (a number or [B]).

    The values are `project`'s. The gradient with respect to the task's mean and std is exact, by implicit
    differentiation of the conditions of optimality; the base and log_alpha are constants and get none. A
    component that is the base's own stays there under small changes, so its gradient is zero.
    """
    return _Projected.apply(mean, std, base_mean, base_std, log_alpha)  # type: ignore[no-untyped-call]


def shift_torch(mean: Tensor, base_mean: Tensor, base_std: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [B, A] under a Gaussian budget that allows a shift of this length [B] (`GaussianShift`): the
    base's deviations, and the mean moved in the task's direction. Differentiable in the task's mean."""
    z = (mean - base_mean) / base_std
    square = (z**2).sum(dim=1)
    beyond = square > allowed**2  # the root is taken only there: at 0 it has no gradient
    part = torch.where(beyond, allowed / torch.sqrt(torch.where(beyond, square, 1.0)), 1.0)
    return base_mean + base_std * z * part[:, None], base_std


class _Projected(torch.autograd.Function):
    """Adjoint of: H dz + a dlam = -M dtheta, a . dz = 0, where z = (mean, variance) component by component, H the
    Hessian of KL + lam * log ratio, a the gradient of the log ratio and M the mixed derivative of KL."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        mean, std, base_mean, base_std, log_alpha = arguments
        limit = log_alpha.detach().cpu().numpy() if isinstance(log_alpha, Tensor) else log_alpha
        task = [tensor.detach().cpu().double().numpy() for tensor in (mean, std, base_mean, base_std)]
        found = project(task[0], task[1], task[2], task[3], limit)
        new = [torch.from_numpy(array) for array in (found.mean, found.std, found.multiplier)]
        ctx.save_for_backward(*new, *(torch.from_numpy(array) for array in task))
        ctx.kind = mean.dtype, mean.device
        return new[0].to(mean), new[1].to(mean)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        mean, std, lam, task_mean, task_std, base_mean, base_std = ctx.saved_tensors
        to_mean, to_std = (gradient.detach().cpu().double() for gradient in gradients)
        binds = lam[:, None] > 0
        w = (base_std - std) * (base_std + std)
        free = w > 0
        w, v, x = torch.where(free, w, 1.0), std**2, mean - base_mean
        slope = x / w
        lam = lam[:, None]
        mean_mean = 1 / task_std**2 + lam / w  # the Hessian's three entries of each component
        mean_var = lam * slope / w
        var_var = (1 + lam) / (2 * v**2) + lam * slope**2 / w
        determinant = mean_mean * var_var - mean_var**2

        def solve(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
            first = (var_var * one - mean_var * two) / determinant
            second = (mean_mean * two - mean_var * one) / determinant
            return torch.where(free, first, 0.0), torch.where(free, second, 0.0)

        ratio = slope, slope**2 / 2 - 1 / (2 * v)  # the log ratio's gradient
        wanted, along = solve(to_mean, to_std / (2 * std)), solve(*ratio)
        over = sum((r * s).sum(1, keepdim=True) for r, s in zip(ratio, wanted, strict=True))
        under = sum((r * s).sum(1, keepdim=True) for r, s in zip(ratio, along, strict=True))
        share = torch.where(under > 0, over / torch.where(under > 0, under, 1.0), 0.0)
        on_mean, on_var = (p - share * q for p, q in zip(wanted, along, strict=True))
        bent_mean = on_mean / task_std**2
        bent_std = (2 * (mean - task_mean) * on_mean + on_var) / task_std**3
        kept = std == task_std  # of a component that nothing binds
        result = torch.where(binds, bent_mean, to_mean), torch.where(binds, bent_std, torch.where(kept, to_std, 0.0))
        return (*(gradient.to(*reversed(ctx.kind)) for gradient in result), None, None, None)
