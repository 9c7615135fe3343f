"""Several processes that train one model: who they are, what they share, and their errors.

torchrun starts the processes and ends all of them when one fails. Gradients are averaged by
torch's DistributedDataParallel, over gloo on CPUs and nccl on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from evaluation.errors import BenchError
from evaluation.training.settings import Training


@dataclass(frozen=True)
class Team:
    """The processes of a training.

    Attributes:
        rank: number of this process.
        local_rank: its number on its node, which is also the number of its GPU.
        size: number of processes.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values / self.size

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their ranks, on all of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


def team_of_environment() -> Team:
    """Who this process is: what torchrun says, or alone."""
    if not dist.is_torchelastic_launched():
        return Team()
    rank, local, size = (int(os.environ[n]) for n in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    return Team(rank, local, size)


@contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """The team of this process, its process group open for the block.

    A group that is open already is used: torchrun's processes can meet only once.
    """
    team = team_of_environment()
    if team.size == 1 or dist.is_initialized():
        yield team
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    yield team
    # Not after an error: the others may hang in a sum, and torchrun ends them.
    dist.destroy_process_group()


def check_device(training: Training, team: Team | None = None) -> torch.device:
    """The device that a preset asks for.

    Raises:
        BenchError: it wants a GPU and torch sees none, or there are more processes than GPUs.
            Raised before any data is read.
    """
    team = team or team_of_environment()
    if training.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BenchError(
            "this preset trains on a GPU, and torch sees none",
            found=f"torch {torch.__version__}, CUDA available: no",
            expected="a CUDA build of torch on a machine with a GPU",
            hint="submit the job to a GPU partition, or choose a preset for a CPU",
        )
    if team.local_rank >= torch.cuda.device_count():
        raise BenchError(
            "more processes than GPUs on this machine",
            found=f"{torch.cuda.device_count()} GPU(s), process {team.local_rank + 1} of a node",
            hint="start fewer processes; they take turns, and a step keeps its crops",
        )
    return torch.device("cuda", team.local_rank)


def turns_of(training: Training, size: int) -> int:
    """Batches that each of `size` processes takes in one step.

    `accumulate`, times the processes of the preset that each one stands in for. A step then has
    batch * turns * size crops: what the preset says for any number of processes that divides
    the preset's; more processes than that make larger steps.

    Raises:
        BenchError: the preset's processes cannot be shared out evenly.
    """
    if size >= training.processes:
        return training.accumulate
    if training.processes % size:
        raise BenchError(
            f"{size} processes cannot stand in evenly for the preset's {training.processes}",
            expected=f"a divisor of {training.processes}",
            hint="start fewer processes, or set training.processes in a preset of your own",
        )
    return training.accumulate * training.processes // size


def crops_of_step(training: Training, size: int) -> int:
    """Crops of one optimiser step of `size` processes together."""
    return training.batch * turns_of(training, size) * size
