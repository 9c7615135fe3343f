"""`make bench-audit`: re-uses that the audit finds, and different patients that it confuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import typer
from tqdm import tqdm

from evaluation.audit.findings import (
    COPIED,
    REJECTED,
    SAME,
    SAME_OR_PATIENT,
    Finding,
)
from evaluation.audit.fingerprint import Fingerprint, fingerprint_of
from evaluation.audit.running import compare
from evaluation.audit.scans import Scan
from evaluation.datasets.phantoms.canvas import Grid
from evaluation.datasets.phantoms.prostate import draw_pelvis
from evaluation.datasets.phantoms.torso import draw_torso
from evaluation.files.writing import visible
from evaluation.volumes.image_files import Volume, has_volume_suffix, read_volume
from tests.bench.reuses import REUSES, Reuse
from tests.bench.running import Out, run, tell

COLUMNS = ("re-use", "n", "found %", "copied voxels", "same scan", "same scan or patient", "votes")


@dataclass(frozen=True)
class Calibration:
    """Error rates on some scans.

    Args:
        recall: one row for each re-use: n, share found (accepted), counts by verdict, and the
            median number of votes.
        n_negative: pairs of different patients that were compared, originals and re-uses.
        candidates: how many of them reached the check.
        confused: those that were accepted, as names.
    """

    recall: pd.DataFrame
    n_negative: int
    candidates: int
    confused: tuple[str, ...]


def virtual_patients(n: int, seed: int) -> list[Volume]:
    """Torsos, hearts and pelves of the virtual cohort on finer grids than a demonstration has."""
    volumes = []
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        shift = rng.uniform(-8, 8, 3)
        if index % 2:
            grid = Grid((80, 72, 36), (2.0, 2.0, 3.0), (shift[0], shift[1], shift[2]))
            phantom = draw_pelvis(rng, grid)
        else:
            grid = Grid((96, 80, 72), (3.2, 3.2, 4.0), (shift[0], shift[1], 45 + shift[2]))
            phantom = draw_torso(rng, grid)
        volumes.append(Volume(phantom.image, np.diag([*phantom.spacing_mm, 1.0])))
    return volumes


def calibrate(
    volumes: Sequence[Volume],
    n_sources: int,
    seed: int = 0,
    reuses: Sequence[Reuse] = REUSES,
    seen: Callable[[str], object] = lambda _name: None,
) -> Calibration:
    """Hide re-uses of some scans among all of them and look for them.

    Args:
        volumes: scans of different patients.
        n_sources: how many of them (drawn at random) are re-used.
        seed: of the draw and of the changes.
        reuses: the changes.
        seen: called with the name of a re-use when it has been measured.
    """
    rng = np.random.default_rng(seed)
    originals = [_scan(f"{i}", f"{i}", volume) for i, volume in enumerate(volumes)]
    prints = [fingerprint_of(volume) for volume in volumes]
    chosen = sorted(rng.choice(len(volumes), min(n_sources, len(volumes)), replace=False).tolist())
    findings = compare(originals, prints)
    confused = list(findings)
    n = len(volumes)
    n_negative = n * (n - 1) // 2
    rows = []
    for reuse in reuses:
        copies = [
            _scan(f"{i} {reuse.name}", "copies", reuse.change(volumes[i], rng)) for i in chosen
        ]
        marks = [fingerprint_of(copy.load()) for copy in copies]
        # One re-use at a time: the index of the originals is small here.
        found = _against(originals, prints, copies, marks)
        twins = {f.second.name: f for f in found if f.second.case.split()[0] == f.first.case}
        confused += [f for f in found if f.second.case.split()[0] != f.first.case]
        n_negative += len(copies) * (n - 1)
        verdicts = [twins[c.name].verdict if c.name in twins else REJECTED for c in copies]
        votes = [twins[c.name].match.votes if c.name in twins else 0 for c in copies]
        rows.append(
            (
                reuse.name,
                len(copies),
                100 * sum(v != REJECTED for v in verdicts) / max(1, len(copies)),
                *(verdicts.count(v) for v in (COPIED, SAME, SAME_OR_PATIENT)),
                float(np.median(votes)),
            )
        )
        seen(reuse.name)
    return Calibration(
        pd.DataFrame(rows, columns=list(COLUMNS)),
        n_negative,
        len(confused),
        tuple(
            f"{f.first.case} - {f.second.case}: {f.verdict} ({f.match.shared} hashes, "
            f"{f.match.votes} votes, correlation {f.agreement.correlation:.2f})"
            for f in confused
            if f.accepted
        ),
    )


def _against(
    originals: Sequence[Scan],
    prints: Sequence[Fingerprint],
    copies: Sequence[Scan],
    marks: Sequence[Fingerprint],
) -> list[Finding]:
    # One name for all originals and one for all copies: pairs within either are not compared.
    others = [replace(scan, patient="originals") for scan in originals]
    return compare([*others, *copies], [*prints, *marks])


def _scan(case: str, patient: str, volume: Volume) -> Scan:
    return Scan("calibration", case, patient, "train", volume, "")


def report_lines(rates: Calibration) -> list[str]:
    """The rates as lines of text."""
    return [
        rates.recall.to_string(index=False, float_format="%.0f"),
        (
            f"different patients: {rates.n_negative} pairs, {rates.candidates} reached the check, "
            f"{len(rates.confused)} accepted"
        ),
        *(f"  {pair}" for pair in rates.confused),
    ]


def bench_audit(
    data: list[Path] = typer.Option(
        [], "--data", help="Volume or folder of volumes of different patients (repeatable)."
    ),
    patients: int = typer.Option(20, "--patients", min=2, help="Virtual ones, without --data."),
    sources: int = typer.Option(8, "--sources", min=1, help="Scans that are re-used."),
    seed: int = typer.Option(0, "--seed", help="Of the draw and of the changes."),
    out: Path | None = Out,
) -> None:
    """Error rates of the leakage audit: re-uses that it finds, patients that it confuses."""
    files = [
        file
        for path in data
        for file in (visible(path) if path.is_dir() else [path])
        if has_volume_suffix(file)
    ]
    volumes = [read_volume(file) for file in files] or virtual_patients(patients, seed)
    with tqdm(total=len(REUSES), unit="re-use", disable=None) as bar:
        rates = calibrate(volumes, sources, seed, seen=lambda _name: bar.update())
    tell(report_lines(rates), rates.recall.to_dict("records"), out)


if __name__ == "__main__":
    run(bench_audit)
