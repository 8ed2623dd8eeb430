"""What moves the weights: AdamW, and on request Muon for those that mix channels.

A 1 x 1 convolution is a matrix, and most of a light network is made of such. Muon (Jordan et al. 2024) turns the step of a
matrix so that all its directions move alike, whatever their gradients' sizes; its rates are those of AdamW here, by the
scale of Liu et al. 2025, "Muon is scalable for LLM training".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

Group = dict[str, Any]

_LEAST = 16
"""Rows and columns of the smallest matrix worth turning."""


class Optimizer:
    """AdamW, and Muon beside it, as one."""

    def __init__(self, groups: list[Group], *, weight_decay: float, muon: bool, fused: bool = False) -> None:
        """Groups: parameters and their ``lr``. Muon: for all matrices among them."""
        self.weight_decay = weight_decay
        chosen = [[weight for weight in group["params"] if muon and _mixes_channels(weight)] for group in groups]
        matrices = {id(weight) for weights in chosen for weight in weights}
        rest = [
            {"params": [weight for weight in group["params"] if id(weight) not in matrices], "lr": group["lr"]}
            for group in groups
        ]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, weight_decay=weight_decay, betas=(0.9, 0.99), fused=fused)
        ]
        # Muon takes matrices only: each is a view of its convolution's weights, and is lent their gradient at every step
        self.views = [(weight, nn.Parameter(weight.detach().flatten(1))) for weights in chosen for weight in weights]
        if self.views:
            places = {id(weight): view for weight, view in self.views}
            turned = [
                {"params": [places[id(weight)] for weight in weights], "lr": group["lr"]}
                for weights, group in zip(chosen, groups, strict=True)
                if weights
            ]
            self.parts.append(torch.optim.Muon(turned, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"))
        self.rates = [group["lr"] for part in self.parts for group in part.param_groups]

    def step(self, factor: float) -> None:
        """Move every weight along its gradient, at ``factor`` times its rate, and forget the gradients."""
        groups = [group for part in self.parts for group in part.param_groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * factor
        for weight, view in self.views:
            view.grad = None if weight.grad is None else weight.grad.flatten(1)
            weight.grad = None
        for part in self.parts:
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """Of every part."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from what ``state_dict`` gave, with the rates and the decay that were asked for this time."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
            for group in part.param_groups:
                group["weight_decay"] = self.weight_decay


def _mixes_channels(weight: nn.Parameter) -> bool:
    return weight.ndim == 4 and weight.shape[2:] == (1, 1) and min(weight.shape[:2]) >= _LEAST
