"""A clone with one run in it: its inputs, what its steps keep, and a fresh run of the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import yaml

from evaluation.files.writing import sha256

ROOT = Path(__file__).resolve().parents[2]
NAME = "changes"
CONFIG = f"config/{NAME}.yaml"
RUN = ("--cores", "2", "--configfile", CONFIG)
MADE = ("results", "reports", ".snakemake", "*.log")
"""What a run makes in a clone; everything else there is an input."""

ARTEFACTS = {
    "case": "cases/*/*/case.json",
    "prepared": "prepared/*/*/*/record.json",
    "specialist_data": "runs/nnunet/*/preprocessed/satbench.json",
    "training": "runs/*/last.pt",
    "specialist": "runs/nnunet/*/trained/satbench.json",
    "fitted": "runs/threshold/*.json",
    "prediction": "predictions/*/*/*/prediction.json",
}
"""What steps keep, as long as they would make it again; the stars become its name."""

OF_TIME = {"runtime", "cost"}


@dataclass
class Place:
    """A clone with the run `changes`."""

    clone: Any

    @property
    def folder(self) -> Path:
        return self.clone.folder

    @property
    def run(self) -> Path:
        return self.folder / "results" / NAME

    @property
    def config(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / CONFIG).read_text())

    def configure(self, **values: Any) -> None:
        """Change keys of the configuration; None takes a key away."""
        config = {k: v for k, v in {**self.config, **values}.items() if v is not None}
        (self.folder / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))

    def replace(self, file: str, old: str, new: str) -> None:
        """Replace a text in a file of the clone."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} has no {old}"
        path.write_text(text.replace(old, new))

    def snakemake(self, *arguments: str) -> str:
        # What follows `--configfile` would be taken for one more such file.
        return self.clone.run(*arguments, *RUN, timeout=1200)

    def inputs(self) -> str:
        """A digest of all that a fresh run would start from."""
        content = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            ours = any(fnmatch(name.parts[0], made) for made in MADE) or path.suffix == ".pyc"
            if path.is_file() and not ours:
                content.update(f"{name} {sha256(path)}\n".encode())
        return content.hexdigest()


def artefacts(run: Path) -> dict[str, str]:
    """All that steps keep, by name, with its content and time of change.

    Snakemake deletes a checkpoint whose step may have to run, and the step writes it again: of it
    the content alone counts. Rows of a case count by what they were made from.
    """
    found = {}
    for kind, pattern in ARTEFACTS.items():
        for path in run.glob(pattern):
            parts = zip(Path(pattern).parts, path.relative_to(run).parts, strict=True)
            names = [part.removesuffix(".json") for wild, part in parts if "*" in wild]
            found["/".join([kind, *names])] = f"{sha256(path)} {path.stat().st_mtime_ns}"
    for path in run.glob("runs/*/checkpoint.pt"):
        found[f"checkpoint/{path.parent.name}"] = sha256(path)
    journals = sorted(run.glob("scores/*/*/shards/*.jsonl"), key=lambda p: p.stat().st_mtime_ns)
    for path in journals:
        model, dataset = path.relative_to(run / "scores").parts[:2]
        for line in map(json.loads, path.read_text().splitlines()):
            found[f"rows/{model}/{dataset}/{line['rows'][0]['case']}"] = line["made_from"]
    return found


def matching(names: Iterable[str], patterns: Iterable[str]) -> set[str]:
    return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}


@dataclass
class FreshRuns:
    """Runs from nothing, one for each set of inputs."""

    root: Path
    new_clone: Callable[..., Any]
    done: dict[str, Path] = field(default_factory=dict)

    def of(self, place: Place) -> Path:
        """The run folder of a run of these inputs in another clone, as far as its tables."""
        key = place.inputs()
        if key not in self.done:
            fresh = Place(make_place(self.root / str(len(self.done)), self.new_clone))
            ignored = shutil.ignore_patterns(*MADE)
            shutil.copytree(place.folder, fresh.folder, ignore=ignored, dirs_exist_ok=True)
            fresh.snakemake("tables")
            self.done[key] = fresh.run
        return self.done[key]


def make_place(folder: Path, new_clone: Callable[..., Any]) -> Any:
    """An empty clone, which finds the user's own modules in its folder `code`."""
    folder.mkdir(parents=True)
    return new_clone(folder, PYTHONPATH=f"{ROOT}:{folder / 'code'}")


def require_same_tables(place: Place, fresh: Path) -> None:
    """Every table and every score row equals that of the fresh run."""

    def tables(run: Path) -> dict[str, Path]:
        found = {path.stem: path for path in (run / "tables").glob("*.parquet")}
        return {name: path for name, path in found.items() if name not in OF_TIME}

    ours, theirs = tables(place.run), tables(fresh)
    assert set(ours) == set(theirs)
    config = place.config
    for model in config["models"]:
        for dataset in config["entries"]:
            name = f"scores/{model}/{dataset}.parquet"
            ours[name], theirs[name] = place.run / name, fresh / name
    for name, path in ours.items():
        one, other = pd.read_parquet(path), pd.read_parquet(theirs[name])
        pd.testing.assert_frame_equal(one, other, obj=name)


def require_board(place: Place) -> None:
    """The leaderboard shows the configured models and no others."""
    path = place.folder / "reports/out" / NAME / "leaderboard.html"
    data = path.read_text(encoding="utf-8").partition('"models":')[2]
    models, _ = json.JSONDecoder().raw_decode(data)
    assert {model["id"] for model in models} == set(place.config["models"])


def other_voxel(path: Path, label: int | None = None) -> None:
    """Change the voxel in the middle of an image; of a label map to `label`, or to 0 if it is."""
    volume = nib.load(path)
    array = np.asarray(volume.dataobj).copy()
    middle = tuple(n // 2 for n in array.shape)
    before = array[middle]
    array[middle] = before + 40 if label is None else label * (before != label)
    nib.save(nib.Nifti1Image(array, volume.affine, volume.header), path)
