"""Virtual patients in the raw layouts of real datasets.

They go through exactly the readers that real data use, and never pass for real data: a run of
them says `data_kind: synthetic` in every table.
"""

from evaluation.datasets.phantoms.cohort import (
    COHORT_FILE,
    goes_on,
    write_cohort,
    write_patient,
    written_files,
)
from evaluation.datasets.phantoms.rosters import DATASETS, RosterRow, roster

__all__ = [
    "COHORT_FILE", "DATASETS", "RosterRow", "goes_on", "roster", "write_cohort", "write_patient",
    "written_files",
]  # fmt: skip
