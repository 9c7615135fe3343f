"""`satbench export predictions`: a dataset's own values, on the scan's own grid."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.cases import Prediction, read_case_record, read_image_case, write_prediction
from evaluation.datasets.registry import CARD_FOLDER, find_card, load_cards
from evaluation.errors import BenchError
from evaluation.files.writing import write_text
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.scoring.label_maps import export_predictions, in_values, own_values
from evaluation.volumes.image_files import orientation_of, read_volume
from evaluation.volumes.segmentation import pack_masks

from .conftest import AFFINE, CASES, DATASET, labels_of

FOLDER = (
    "  kind: prediction-folder\n  folder: {}\n"
    "  labels: {{msd_hippocampus: {{anterior hippocampus: 1, posterior hippocampus: 2}}}}\n"
)


def test_what_was_predicted_comes_out_as_the_dataset_has_it(
    run, write_card, write_predictions
) -> None:
    """Perfect answers, packed by the run in an order of its own, are the reference's label map."""
    write_card(FOLDER.format("predictions/mine"))
    write_predictions()
    predict_shard(run, "mine", DATASET, 0)
    first = RunPaths(run).case(DATASET, CASES[0])
    stored = read_case_record(first).model_copy(update={"source_orientation": "LPS"})
    write_text(first / "case.json", stored.model_dump_json())
    (found,) = export_predictions(run, "mine", Path("out"))
    assert (found.cases, found.planned, found.not_written, found.lost_voxels) == (2, 2, {}, {})
    turned, plain = (read_volume(Path("out") / DATASET / f"{case}.nii.gz") for case in CASES)
    assert (plain.array == labels_of(CASES[1])).all()
    assert orientation_of(turned.affine) == "LPS"
    assert (turned.array == labels_of(CASES[0])[::-1, ::-1]).all()
    # They go back in as another model's prediction folder, in place.
    write_card(FOLDER.format("out"), "again")
    predict_shard(run, "again", DATASET, 0)
    masks = [
        RunPaths(run).prediction(model, DATASET, CASES[0]) / "layer-0.nii.gz"
        for model in ("mine", "again")
    ]
    one, other = map(read_volume, masks)
    assert (one.array == other.array).all()


def test_a_case_that_failed_is_named_and_the_others_are_written(
    run, write_card, write_predictions
) -> None:
    write_card(FOLDER.format("predictions/mine"))
    write_predictions(CASES[:1])
    predict_shard(run, "mine", DATASET, 0)
    (found,) = export_predictions(run, "mine", Path("out"))
    assert (found.cases, list(found.not_written)) == (1, [CASES[1]])
    with pytest.raises(BenchError, match="no prediction of `mein`"):
        list(export_predictions(run, "mein", Path("out")))
    elsewhere = "../predictions/mine"
    with pytest.raises(BenchError, match=f"no prediction of `{elsewhere}`"):
        list(export_predictions(run, elsewhere, Path("out")))
    (RunPaths(run).root / "predictions" / "mine" / DATASET).rename(run / "away")
    with pytest.raises(BenchError, match=f"`mine` has no prediction of `{DATASET}`"):
        list(export_predictions(run, "mine", Path("out"), [DATASET]))


def test_masks_keep_the_names_of_the_datasets_files(run) -> None:
    paths, card = RunPaths(run), find_card("totalsegmentator")
    case = read_image_case(paths.case(DATASET, CASES[0]))
    name = next(entry.name for entry in card.annotated if entry.file == "liver")
    answer = pack_masks({name: labels_of(CASES[0]) == 1}, AFFINE, "direct")
    target = paths.case(card.id, "s1")
    target.parent.mkdir(parents=True)
    paths.case(DATASET, CASES[0]).rename(target)
    write_prediction(paths.prediction("m", card.id, "s1"), "m", case, Prediction(answer))
    write_text(paths.split(card.id), "case,patient,split\ns1,s1,test\n")
    (found,) = export_predictions(run, "m", Path("out"), ["totalsegmentator"])
    assert found.cases == 1
    assert [p.name for p in Path("out/totalsegmentator/s1").iterdir()] == ["liver.nii.gz"]


LABEL_MAPS = [name for name, card in load_cards(CARD_FOLDER).items() if own_values(card)]


@pytest.mark.parametrize("dataset", LABEL_MAPS)
def test_values_that_mean_several_classes_come_back_exactly(dataset: str) -> None:
    """Of any label map in the dataset's values, the classes give the same classes again."""
    values = own_values(find_card(dataset))
    some = sorted({0}.union(*values.values()))
    truth = np.random.default_rng(0).choice(some, (6, 7, 8)).astype(np.uint8)
    masks = {name: np.isin(truth, own) for name, own in values.items()}
    labels, lost = in_values(pack_masks(masks, AFFINE, "direct"), values)
    assert lost == {}
    for name, own in values.items():
        assert (np.isin(labels, own) == masks[name]).all()


def test_overlaps_that_no_value_means_are_counted() -> None:
    liver, tumor = np.zeros((2, 4, 4, 4), bool)
    liver[:2], tumor[1:3] = True, True
    values = {"liver": [1, 2], "liver tumor": [2]}
    labels, lost = in_values(
        pack_masks({"liver": liver, "liver tumor": tumor}, AFFINE, "direct"), values
    )
    assert labels[:, 0, 0].tolist() == [1, 2, 2, 0]
    assert lost == {"liver": 16}  # the tumour outside the liver makes it larger
    both = pack_masks({"a": liver, "b": tumor, "whole": liver | tumor}, AFFINE, "direct")
    labels, lost = in_values(both, {"whole": [1, 2], "a": [1], "b": [2]})
    assert labels[:, 0, 0].tolist()[0::2] == [1, 2]
    assert set(lost) <= {"a", "b"}
    assert sum(lost.values()) == 16
