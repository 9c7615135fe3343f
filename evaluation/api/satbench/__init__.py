"""SAT-Bench from Python.

    import satbench

    result = satbench.evaluate("refs/", "preds/", tolerance_mm=1)
    print(result.summary())

Whatever a user can put right is a `satbench.BenchError`: what was found, what was expected, which
file, what to do next. Importing this loads neither torch nor nnU-Net.
"""

from evaluation import __version__
from evaluation.api.arrays import score, score_instances
from evaluation.api.runs import Run, find_dataset, load_run, read_tables
from evaluation.api.scoring import Evaluation, evaluate
from evaluation.api.segmenting import segment
from evaluation.errors import BenchError

__all__ = [
    "BenchError",
    "Evaluation",
    "Run",
    "__version__",
    "evaluate",
    "find_dataset",
    "load_run",
    "read_tables",
    "score",
    "score_instances",
    "segment",
]
