"""What only Hermes shows: heat maps that are its logits, and how alike its priors are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.universal.config import load_preset
from baselines.universal.entries import catalogue
from baselines.universal.heat_maps import HeatMaps, best_slice, heat_maps, likeness_maps
from baselines.universal.masks import HermesModel, with_null
from baselines.universal.prior_figures import heat_map_figure, similarity_figure
from baselines.universal.similarity import RULES, prior_levels, similarities
from baselines.universal.systems import new_model
from evaluation.cases import CaseRecord, write_case
from evaluation.paths import RunPaths
from evaluation.volumes.axes import AS_STORED, array_turned_back, turned, turned_masks
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import Segmentation, pack_masks

SCOPE = {
    "acdc": ("myocardium", "left ventricle cavity"),
    "msd_spleen": ("spleen",),
    "promise12": ("prostate",),
}


def model_of(system: str) -> HermesModel:
    torch.manual_seed(0)
    model = new_model(load_preset("smoke").of(system), catalogue(SCOPE, {})).eval()
    assert isinstance(model, HermesModel)
    return model


@pytest.mark.parametrize("system", ["hermes-r", "hermes-m"])
def test_a_heat_map_is_the_logit_map(system: str) -> None:
    model = model_of(system).double()
    entry = model.known.of("acdc")
    assert entry is not None
    image = torch.randn(1, 1, 32, 32, 32, dtype=torch.float64)
    tasks, modality = with_null(torch.tensor([entry.tokens])), torch.tensor([entry.modality])
    with torch.inference_mode():
        maps = likeness_maps(model.network, image, tasks, modality)
        logits = model.network(image, tasks, modality)
        answers = model.answers(image, model.prompts(model.rows_of("acdc")))
    torch.testing.assert_close(maps, logits, rtol=0, atol=1e-12)
    # The masks of a prediction end where the map is 0.
    np.testing.assert_array_equal(maps[:, :2] > 0, answers > 0.5)


def test_heat_maps_of_a_scan_sliced_along_another_axis_are_those_of_the_turned_scan(
    tmp_path: Path,
) -> None:
    """A short axis whose slices lie towards A, and the same voxels with the slices last."""
    model, paths = model_of("hermes-r"), RunPaths(tmp_path)
    image = np.random.default_rng(0).random((20, 9, 24)).astype(np.float32) + 1
    mask = np.zeros(image.shape, dtype=bool)
    mask[5:12, 3:6, 8:20] = True
    found = []
    for case, order in (("coronal", "RSP"), ("axial", "RAS")):
        turn = AS_STORED if order == "RSP" else "RSP"
        stored = turned(Volume(image, np.diag([6.0, 8.0, 6.0, 1.0])), turn)
        affine = np.diag([*stored.spacing_mm, 1.0])
        ball = turned_masks(pack_masks({"myocardium": mask}, np.eye(4), "annotated"), turn)
        record = CaseRecord(
            dataset="acdc", case=case, patient=case, modality="mri", shape=stored.array.shape,
            spacing_mm=stored.spacing_mm, source_orientation="RAS", n_layers=1,
            classes=dict(ball.classes), grid_axes=order,
        )  # fmt: skip
        masks = Segmentation(ball.layers, affine, ball.classes)
        write_case(paths.case("acdc", case), Volume(stored.array, affine), masks, record)
        found.append(heat_maps(model, paths, "acdc", case))
    coronal, axial = found
    sides = model.preset.grid.spacing_mm
    assert coronal.spacing_mm == (sides[0], sides[2], sides[1])
    assert coronal.references.any()
    for ours, theirs in (
        (coronal.image, axial.image),
        *zip(coronal.maps, axial.maps, strict=True),
        *zip(coronal.references, axial.references, strict=True),
    ):
        np.testing.assert_array_equal(ours, array_turned_back(theirs, "RSP"))


def test_every_rule_gives_cosines_of_the_tables() -> None:
    model = model_of("hermes-r")
    table = similarities(model.network, model.known)
    assert set(table["rule"]) == set(RULES)
    tasks = table[(table["kind"] == "task") & (table["rule"] == "joined")]
    assert len(tasks) == 4 * 4
    same = table[table["prior"] == table["other"]]
    np.testing.assert_allclose(same["cosine"], 1)
    levels = prior_levels(model.network, "task")
    joined = torch.cat(levels, dim=1)[[0, 2]].double()
    pair = tasks.set_index(["prior", "other"])["cosine"]
    found = pair["acdc: myocardium", "msd_spleen: spleen"]
    assert found == pytest.approx(float(torch.cosine_similarity(*joined, dim=0)))


def test_rules_differ_in_which_levels_count() -> None:
    """Priors that agree at the widest level alone, and are opposite at all others."""
    model = model_of("hermes-r")
    with torch.no_grad():
        for number, tables in enumerate(model.network.priors):
            tables.tasks[0] = 1.0
            tables.tasks[1] = 1.0 if number == 2 else -1.0
    table = similarities(model.network, model.known).query("kind == 'task'")
    pair = table.query("prior == 'acdc: myocardium' and other == 'acdc: left ventricle cavity'")
    found = pair.set_index("rule")["cosine"]
    widths = [level.shape[1] for level in prior_levels(model.network, "task")]
    assert found["deepest"] == pytest.approx(1)
    assert found["by level"] == pytest.approx((1 - 4) / 5)
    assert found["joined"] == pytest.approx((2 * widths[2] - sum(widths)) / sum(widths))


def test_modalities_are_named_and_an_untrained_one_is_left_out() -> None:
    model = model_of("hermes-r")
    table = similarities(model.network, model.known).query("kind == 'modality'")
    assert set(table["prior"]) == set(model.known.modalities) == {"cine", "ct", "T2"}


def test_figures_draw_every_rule_and_task() -> None:
    model = model_of("hermes-r")
    table = similarities(model.network, model.known)
    drawn = similarity_figure(table[table["kind"] == "modality"], "Hermes-R")
    assert [a.get_title().split(" (")[0] for a in drawn.axes[: len(RULES)]] == list(RULES)
    reference = np.zeros((2, 6, 7, 8), dtype=bool)
    reference[0, 2:4, 5, 2:6] = True
    maps = HeatMaps(
        "acdc", "p1", ("myocardium", "spleen"), np.zeros((6, 7, 8), np.float32),
        np.where(reference, 2, -1).astype(np.float32), reference, (1.0, 1.0, 2.0),
    )  # fmt: skip
    assert best_slice(maps, 0) == 5
    assert best_slice(maps, 1) == 3
    titles = [axes.get_title() for axes in heat_map_figure(maps, "Hermes-R").axes[:2]]
    assert titles == ["myocardium", "spleen"]
