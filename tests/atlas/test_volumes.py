"""An atlas of one's own: points and segmentations, from its folder to an encoder that learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.errors import BenchError
from evaluation.training.augmentation import augment
from evaluation.training.grid import GridMap
from evaluation.training.points import paint_points, points_on
from evaluation.training.settings import Augmentation
from evaluation.training.store import read_index, read_record
from evaluation.volumes.image_files import Volume, write_volume
from sat.atlas.setup import prepare_atlas
from sat.atlas.training import measure_atlas, train_atlas
from sat.atlas.volumes import describe, prepare_volumes
from sat.prompts.book import PromptBook

SHAPE = (44, 40, 30)
AFFINE = np.diag([-0.9, 0.9, 1.1, 1.0])
AFFINE[:3, 3] = (20.0, -18.0, 5.0)


def write_atlas(folder: Path, volumes: int = 5) -> Path:
    """Balls with labels, and a point on each of 24 small blobs and in two empty corners."""
    folder.mkdir()
    rows = ["volume,modality,patient"]
    for number in range(volumes):
        random = np.random.default_rng(number)
        own = folder / f"v{number}"
        own.mkdir()
        at = np.stack(np.indices(SHAPE), axis=-1)
        image = random.normal(0, 5, SHAPE) - 50
        image[3:-3, 3:-3, 3:-3] += 100
        labels = np.zeros(SHAPE, np.int16)
        for value, x in ((1, 12), (2, 30)):
            ball = np.linalg.norm(at - (x, 20, 15) - random.uniform(-1, 1, 3), axis=-1) < 6
            labels[ball], image[ball] = value, 90 * value
        points = ["concept,x,y,z"]
        places = [(0, 0, 0), (43, 39, 29)]
        places += [tuple(place) for place in random.uniform(4, np.array(SHAPE) - 5, (24, 3))]
        for name, place in enumerate(places):
            x, y, z = (AFFINE @ [*place, 1.0])[:3]
            points.append(f"landmark {name},{x:.4f},{y:.4f},{z:.4f}")
        write_volume(own / "image.nii.gz", Volume(image.astype(np.float32), AFFINE))
        write_volume(own / "labels.nii.gz", Volume(labels, AFFINE))
        (own / "labels.csv").write_text("value,concept\n1,dark organ\n2,bright organ\n")
        (own / "points.csv").write_text("\n".join(points) + "\n")
        rows.append(f"v{number},ct,p{number}")
    (folder / "volumes.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_an_atlas_trains_stage_2_from_its_folder(tmp_path, toy):
    atlas = write_atlas(tmp_path / "atlas")
    preset = toy.preset(steps=12, validation_part=0.3, learning_rate=3e-3)
    store = tmp_path / "store"
    index = prepare_volumes(store, atlas, preset.grid)
    assert [(e.dataset, e.modality, len(e.classes)) for e in index.entries] == [
        ("atlas_ct", "ct", 28)
    ]
    assert read_index(store, preset.grid) == index
    names = index.entries[0].classes
    book = PromptBook(
        tuple(("ct", name) for name in names),
        toy.book().embeddings.new_tensor(np.random.default_rng(0).normal(size=(28, 12))),
    )
    run = prepare_atlas(tmp_path / "work", store, preset, 3, book)
    done = train_atlas(run, progress=False)
    assert done.steps_now == 12
    found = measure_atlas(run)["after"]
    assert found["texts"] == 28
    assert found["regions"] > 20, "points are regions, too"
    kept = (store / "atlas_ct/v0/image.npy").stat().st_mtime_ns
    text = (atlas / "v1" / "points.csv").read_text()
    (atlas / "v1" / "points.csv").write_text(text.replace("landmark 3,", "another,"))
    again = prepare_volumes(store, atlas, preset.grid)
    assert "another" in again.entries[0].classes
    assert (store / "atlas_ct/v0/image.npy").stat().st_mtime_ns == kept
    assert again != index, "stage 2 starts anew"


def test_every_point_is_where_it_was_on_the_own_grid(tmp_path, toy):
    """Also those in the air around the body, which the crop would have left out."""
    atlas = write_atlas(tmp_path / "atlas", volumes=1)
    grid = toy.preset().grid.model_copy(update={"spacing_mm": (1.0, 1.0, 3.0)})
    prepare_volumes(tmp_path / "store", atlas, grid)
    folder = tmp_path / "store/atlas_ct/v0"
    record, layers = read_record(folder), np.load(folder / "layers.npy")
    assert record is not None
    marked = [name for name in record.classes if name.startswith("landmark")]
    assert len(marked) == 26
    assert all(record.points[name].voxels >= 8 for name in marked)
    assert layers.shape[1:] == record.shape == (40, 36, 12), "up to the two corners"
    rows = (atlas / "v0/points.csv").read_text().splitlines()[1:]
    for name, *place in (row.split(",") for row in rows):
        native = np.linalg.inv(AFFINE) @ [*map(float, place), 1.0]
        # Stored from left to right: the first axis of the file is turned.
        turned = np.array([SHAPE[0] - 1 - native[0], *native[1:3]]) * (0.9, 0.9, 1.1)
        (part,) = record.classes[name].parts
        voxels = np.argwhere(np.isin(layers[part.layer], part.values))
        near = np.abs(voxels * (1, 1, 3) - turned) <= np.array((0.5, 0.5, 1.5)) + 1e-3
        assert near.all(axis=1).any(), name


def test_no_point_is_lost_to_resampling_or_zoom():
    random = np.random.default_rng(0)
    shape = (120, 110, 90)
    native = {f"p{i}": random.uniform(20, np.array(shape) - 20, (1, 3)) for i in range(150)}
    grid = GridMap(shape, (0.8, 0.8, 1.25), (1.0, 1.0, 3.0))
    own = points_on(grid, native)
    layers, places = paint_points(own, grid.own_shape, 0)
    stacked = np.stack(layers)
    settings = Augmentation(zoom_p=1.0, zoom=(0.7, 0.7))
    image = np.zeros((1, *grid.own_shape), np.float32)
    _, zoomed = augment(torch.from_numpy(image), stacked, settings, random)
    for name, place in places.items():
        (part,) = place.parts
        for volume in (stacked, zoomed):
            assert np.isin(volume[part.layer], part.values).any(), name
    alone = np.zeros_like(stacked[:1])
    for voxel in np.concatenate(list(own.values())):
        alone[(0, *voxel)] = 1
    _, fewer = augment(torch.from_numpy(image), alone, settings, random)
    assert fewer.sum() < 0.6 * alone.sum(), "single voxels would have been"


def test_points_that_meet_go_to_layers_of_their_own():
    voxels = {"a": np.array([[5, 5, 5]]), "b": np.array([[6, 5, 5]]), "c": np.array([[1, 1, 1]])}
    layers, places = paint_points(voxels, (10, 10, 10), 2)
    assert [places[name].parts[0].layer for name in "abc"] == [2, 3, 2]
    assert [(layer > 0).sum() for layer in layers] == [27 + 27, 27]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("v0/points.csv", "concept,x,y,z\nfar,900,0,0\n", "lies outside of the image"),
        ("v0/points.csv", "concept,x,y,z\nodd,1,b,0\n", "is no place"),
        ("v0/labels.csv", "value,concept\n1,dark organ\n", "values that have no concept"),
        ("v0/labels.csv", "value,concept\n-1,dark organ\n", "no value from 1 to 65535"),
        ("volumes.csv", "volume,modality\nv0,ct\nv7,ct\n", "there is no"),
        ("volumes.csv", "volume,modality\nv0,us\n", "unknown modality"),
        ("volumes.csv", "volume,modality\n../v0,ct\n", "no name of a folder"),
    ],
)
def test_a_faulty_atlas_is_told(tmp_path, file, text, told):
    atlas = write_atlas(tmp_path / "atlas", volumes=1)
    assert list(describe(atlas))[1] == "2 concepts with segmentations, 26 with points (26 points)"
    (atlas / file).write_text(text)
    with pytest.raises(BenchError, match=told):
        list(describe(atlas))
