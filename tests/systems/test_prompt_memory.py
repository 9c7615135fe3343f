"""What one prompt more takes while a window is answered, beside what `memory_mib` counts for it."""

from __future__ import annotations

import weakref
from math import prod

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from evaluation.training.windows import prompts_at_once
from sat.config import load_preset
from sat.model import SatModel
from sat.prompts.book import PromptBook
from tests.systems.test_partial_labels import model_of

MASK_SYSTEMS = ("hermes-r", "hermes-m", "dodnet", "clip-driven", "multitalent")
CLASSES = ("myocardium", "left ventricle cavity", "right ventricle cavity")


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are made and not yet freed."""

    def __init__(self):
        super().__init__()
        self.live, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self.live:
                self.live[key] = storage.nbytes()
                self.peak = max(self.peak, sum(self.live.values()))
                weakref.finalize(storage, self.live.pop, key, None)
        return out


def sat_model():
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(len(CLASSES), 12), dim=-1)
    book = PromptBook(tuple(("mri", name) for name in CLASSES), vectors)
    return SatModel(load_preset("tiny"), book, {"acdc": CLASSES})


@pytest.mark.parametrize("name", [*MASK_SYSTEMS, "sat-nano"])
def test_a_prompt_takes_no_more_maps_than_the_budget_counts(name):
    if name == "sat-nano":
        model = sat_model().eval()
        prompts = model.prompts(torch.arange(len(CLASSES)))
    else:
        model = model_of(name).eval()
        prompts = model.prompts(model.rows_of("acdc"))
    patch = model.preset.inference.patch
    peaks = []
    with model.windows(torch.randn(patch), patch, walks=2) as windows:
        (_, found), *_ = windows
        for count in (1, len(prompts)):
            with torch.inference_mode(), LiveBytes() as tensors:
                model.answers(found, prompts[:count]) * torch.ones(patch)
            peaks.append(tensors.peak / 4 / prod(patch))
    assert len(prompts) == len(CLASSES)
    each = (peaks[1] - peaks[0]) / (len(prompts) - 1)
    # Vectors beside the maps take some numbers, too.
    assert each <= model.maps_per_prompt + 0.1
    if name in ("dodnet", "clip-driven"):
        assert each > 20


def test_more_maps_for_each_prompt_leave_room_for_fewer():
    settings = load_preset("tiny").inference.model_copy(
        update={"memory_mib": 64, "window_batch": 1}
    )
    voxels = 1 << 20  # a float32 map of 4 MiB
    assert prompts_at_once(settings, voxels, voxels, 3) == 2
    assert prompts_at_once(settings, 0, voxels, 4) == 4
    assert prompts_at_once(settings, voxels, voxels, 24) == 1
