"""What the three trainings share: a run measured in minutes, its learning rate, averaged weights, checkpoints."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["Average", "Run", "Team", "autocast", "keep", "say"]


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S", time.gmtime()), text, flush=True)


def autocast(device: str) -> contextlib.AbstractContextManager[Any]:
    """bf16 where it pays: CPUs without it, and MPS, stay in fp32."""
    if device == "mps":
        return contextlib.nullcontext()
    wide: contextlib.AbstractContextManager[Any] = torch.autocast(device, dtype=torch.bfloat16)
    return wide


class Team:
    """Processes that train one model together, each with batches of its own, sharing their gradients every step.

    On a busy CPU two processes of one thread get more done than one of two threads, which waits at every
    operation for the slower thread.
    """

    def __init__(self, rank: int = 0, size: int = 1, meeting: Path | None = None) -> None:
        self.rank, self.size = rank, size
        if size > 1:
            dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)

    def share(self, parameters: list[torch.Tensor], run: Run) -> None:
        """Averages the gradients, and the time spent, so that all agree when to stop."""
        if self.size == 1:
            return
        grads = [p.grad.detach() for p in parameters if p.grad is not None]
        flat = torch.cat([*(grad.flatten() for grad in grads), torch.tensor([run.spent])])
        dist.all_reduce(flat)
        flat /= self.size
        for grad, mean in zip(grads, flat[:-1].split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view(grad.shape))
        run.spent = float(flat[-1])


class Run:
    """A training that ends after so many minutes, counted over all its restarts."""

    def __init__(self, minutes: float, rate: float, warm: float = 0.02, floor: float = 0.02) -> None:
        self.seconds, self.rate, self.warm, self.floor = minutes * 60, rate, warm, floor
        self.spent, self.steps, self._last = 0.0, 0, time.monotonic()

    def begin(self) -> None:
        """Leaves what came before the first step out of the count."""
        self._last = time.monotonic()

    def tick(self) -> bool:
        """Counts one step; False when the time is up."""
        now = time.monotonic()
        self.spent, self._last, self.steps = self.spent + now - self._last, now, self.steps + 1
        return self.spent < self.seconds

    @property
    def share(self) -> float:
        return min(1.0, self.spent / self.seconds)

    def learning_rate(self) -> float:
        """A short warm-up, then a cosine down to a small floor."""
        if self.share < self.warm:
            return self.rate * max(self.share / self.warm, 0.02)
        along = (self.share - self.warm) / (1 - self.warm)
        return self.rate * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * along)))

    def step(
        self,
        optimizer: Any,
        loss: torch.Tensor,
        parameters: list[torch.Tensor],
        team: Team | None = None,
    ) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if team is not None:
            team.share(parameters, self)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


class Average:
    """An exponential moving average of a model's weights, quick to follow at first."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay, self.count = decay, 0
        self.weights = {name: value.detach().float().clone() for name, value in model.state_dict().items()}

    def follow(self, model: torch.nn.Module) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        state = model.state_dict()  # detached, so nothing here is recorded for gradients
        torch._foreach_lerp_(list(self.weights.values()), [state[name] for name in self.weights], 1 - decay)


def keep(path: Path, **what: Any) -> None:
    """Writes a checkpoint whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(what, part)
    part.replace(path)
