"""The only module that knows where the files of a run lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """Paths under one run folder, `results/<run>`."""

    root: Path

    @property
    def config(self) -> Path:
        """The effective configuration."""
        return self.root / "config.json"

    @property
    def added(self) -> Path:
        """Models that `satbench add` put into the run."""
        return self.root / "added.json"

    def settings(self, step: str, unit: str = "all") -> Path:
        """Digest of the settings of a step on a unit of its work, such as `sat-nano/acdc`."""
        return self.root / "settings" / step / f"{unit}.txt"

    @property
    def cards(self) -> Path:
        """Copies of the user's own cards that the run uses."""
        return self.root / "cards"

    @property
    def lock(self) -> Path:
        """Held by the one command that works on the run."""
        return self.root / ".lock"

    def case(self, dataset: str, case: str) -> Path:
        """Folder of a standardised case."""
        return self.root / "cases" / dataset / case

    def case_shard(self, dataset: str, shard: int | str) -> Path:
        """What became of each case of a shard: case, patient, sequence, status, reason."""
        return self.root / "cases" / dataset / "shards" / f"{shard}.csv"

    def split(self, dataset: str) -> Path:
        """Effective split: case, patient, split."""
        return self.root / "splits" / f"{dataset}.csv"

    def collection(self, name: str) -> Path:
        """Statistics of the run's cases: `entries`, `classes` or `regions`."""
        return self.root / "collection" / f"{name}.csv"

    def annotations(self, dataset: str) -> Path:
        """The counted annotations of an entry's cases."""
        return self.root / "collection" / "cases" / f"{dataset}.csv"

    def model_run(self, model: str) -> Path:
        """A model's own folder: checkpoints, logs, data that no other model reads."""
        return self.root / "runs" / model

    def preset(self, model: str) -> Path:
        """The whole preset of a model, as it was when the run last began."""
        return self.model_run(model) / "preset.json"

    def title(self, model: str) -> Path:
        """The printed name of a model on a board, as its submission gives it."""
        return self.model_run(model) / "title.txt"

    def prepared(self, grid_digest: str) -> Path:
        """Training cases on a grid, for every network that sees this grid."""
        return self.root / "prepared" / grid_digest

    def prediction(self, model: str, dataset: str, case: str) -> Path:
        """Folder of one prediction."""
        return self.root / "predictions" / model / dataset / case

    def prediction_shard(self, model: str, dataset: str, shard: int | str) -> Path:
        """Status of each case of a shard: case, status, reason, seconds."""
        return self.root / "predictions" / model / dataset / "shards" / f"{shard}.csv"

    def prediction_spent(self, model: str, dataset: str, shard: int | str) -> Path:
        """Memory and device of the calls that predicted a shard (seconds are the cases')."""
        return self.prediction_shard(model, dataset, shard).with_suffix(".spent.json")

    def prediction_status(self, model: str, dataset: str) -> Path:
        """Status of all cases, joined from the shards."""
        return self.root / "predictions" / model / dataset / "status.csv"

    def score_shard(self, model: str, dataset: str, shard: int | str) -> Path:
        """Score rows of one shard."""
        return self.root / "scores" / model / dataset / "shards" / f"{shard}.parquet"

    def judged_shard(self, model: str, dataset: str, shard: int | str) -> Path:
        """Sides and neighbours of one shard: case, what, group, class, outcome, found_in."""
        return self.root / "scores" / model / dataset / "shards" / f"{shard}.confusions.csv"

    def instance_shard(self, model: str, dataset: str, shard: int | str) -> Path:
        """Single lesions of a shard, where the run counts them."""
        return self.score_shard(model, dataset, shard).with_suffix(".instances.parquet")

    def instances(self, model: str, dataset: str) -> Path:
        """Single lesions of a model on an entry."""
        return self.root / "instances" / model / f"{dataset}.parquet"

    def scores(self, model: str, dataset: str) -> Path:
        """Score rows of one model on one dataset."""
        return self.root / "scores" / model / f"{dataset}.parquet"

    def stressed(self, model: str, dataset: str, case: str) -> Path:
        """How a promptable model answered one case under stress."""
        return self.root / "stress" / model / dataset / f"{case}.json"

    def table(self, name: str) -> Path:
        """An aggregated table."""
        return self.root / "tables" / f"{name}.parquet"

    @property
    def not_run(self) -> Path:
        """Entries of the configuration that had no data: dataset, reason."""
        return self.root / "not_run.csv"

    @property
    def notes(self) -> Path:
        """What stands beside the numbers of the tables, in sentences: `links`, `lines`."""
        return self.root / "notes.json"

    @property
    def log_folder(self) -> Path:
        """Logs of the workflow's jobs."""
        return self.root / "logs"
