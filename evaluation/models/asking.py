"""Ask a model for its answers: one for each case, whatever the model does."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from evaluation.cases import ImageCase
from evaluation.errors import BenchError
from evaluation.files.writing import FULL
from evaluation.models.protocol import BatchModel, Model

log = logging.getLogger(__name__)


def answers_of(
    model: Model | BatchModel,
    cases: Sequence[ImageCase],
    classes: Sequence[str],
    asks: Callable[[str], None],
) -> Iterator[tuple[ImageCase, object, float]]:
    """One (case, answer or what went wrong, seconds) for each case, whatever the model does.

    `asks` is told a case before the model is asked for it alone.

    Raises:
        BenchError: by a `BatchModel` before its first answer: it could not start.
    """
    if isinstance(model, BatchModel):
        yield from _of_batch(model, cases, classes)
        return
    for case in cases:
        asks(case.case)
        start = time.perf_counter()
        answer: object
        try:
            answer = model.predict(case, classes)
        except SystemExit as end:
            answer = BenchError("the model ended its process", found=f"SystemExit({end.code!r})")
        except Exception as error:
            _go_on_after(error)
            # Whatever a model raises is that case's status; the other cases go on.
            log.warning("%s failed on %s", case.dataset, case.case, exc_info=True)
            answer = error
        yield case, answer, time.perf_counter() - start


def _go_on_after(error: Exception) -> None:
    """A full disk is no fault of the model: the next case would fail as well."""
    if isinstance(error, OSError) and error.errno in FULL:
        raise error


def _of_batch(
    model: BatchModel, cases: Sequence[ImageCase], classes: Sequence[str]
) -> Iterator[tuple[ImageCase, object, float]]:
    waiting = {case.case: case for case in cases}
    if not waiting:
        return
    failure: Exception = BenchError(
        "the model gave no answer for this case", expected="one for each case that it was given"
    )
    try:
        for item in model.predict_all(cases, classes):
            case, answer, seconds = _unpacked(item, waiting)
            del waiting[case.case]
            yield case, answer, seconds
    except Exception as error:
        _go_on_after(error)
        if len(waiting) == len(cases) and isinstance(error, BenchError):
            raise
        log.warning("the model stopped", exc_info=True)
        failure = error
    for case in waiting.values():
        yield case, failure, 0.0


def _unpacked(item: object, waiting: Mapping[str, ImageCase]) -> tuple[ImageCase, object, float]:
    if isinstance(item, tuple) and len(item) == 3:
        case, answer, seconds = item
        known = isinstance(case, ImageCase) and case.case in waiting
        if known and isinstance(seconds, int | float) and math.isfinite(seconds):
            return case, answer, float(seconds)
    raise BenchError(
        "the model's `predict_all` yields something else than answers",
        found=[kind_of(part) for part in item] if isinstance(item, tuple) else kind_of(item),
        expected="(case, prediction or exception, seconds), once for each case that it was given",
    )


def kind_of(found: object) -> str:
    """What something is, in a few words."""
    if isinstance(found, np.ndarray):
        text = f"an array of shape {found.shape}, {found.dtype}"
        if found.size and found.dtype.kind in "biuf":
            text += f", values {found.min():g} to {found.max():g}"
        return text
    if found is None:
        return "None"
    if isinstance(found, tuple | list):
        inside = ", ".join(dict.fromkeys(type(part).__name__ for part in found))
        return f"a {type(found).__name__} of {len(found)} ({inside})" if found else "an empty list"
    return f"an object of type {type(found).__name__}"
