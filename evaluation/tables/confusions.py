"""The table `confusions` of a run: counts over the test cases of each model and entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from evaluation.confusions.judging import EMPTY, MISSING, NOWHERE, OTHER, OWN, SIDE, Judgement
from evaluation.confusions.names import other_side, place_in_row
from evaluation.confusions.shards import read_judged
from evaluation.paths import RunPaths
from evaluation.schema import CONFUSIONS
from evaluation.tables.scores import Expected


def confusion_table(paths: RunPaths, expected: Expected) -> pd.DataFrame:
    """One row for each pair of sides and each class of a row that a reference shows.

    Models whose scores were brought in without masks have none.
    """
    rows = []
    for model in expected.models:
        for dataset in expected.entries:
            found: dict[tuple[str, str, str], Counter[tuple[str, str]]] = {}
            for judged in _judged(paths, expected, model, dataset):
                key = judged.what, judged.group, judged.class_name
                found.setdefault(key, Counter())[judged.outcome, judged.found_in] += 1
            for key in sorted(found, key=_place):
                about = {"data_kind": expected.data_kind, "model": model, "dataset": dataset}
                rows.append({**about, **_row(*key, found[key])})
    return pd.DataFrame(rows, columns=CONFUSIONS.names) if rows else CONFUSIONS.empty()


def _judged(paths: RunPaths, expected: Expected, model: str, dataset: str) -> Iterator[Judgement]:
    """Judgements on what the run declares; a shard of another plan may hold other cases."""
    tests, n_shards = list(expected.test_cases(dataset)), expected.n_shards.get(dataset, 1)
    for shard in range(n_shards):
        path = paths.judged_shard(model, dataset, shard)
        cases = set(tests[shard::n_shards])
        for case, judged in read_judged(path) if path.is_file() else ():
            if case in cases and judged.class_name in expected.classes.get(dataset, ()):
                yield judged


def _place(key: tuple[str, str, str]) -> tuple[bool, str, int, str]:
    """Sides first, then rows from the head down."""
    what, group, name = key
    place = place_in_row(name)
    return what != SIDE, group, place[1] if place else 0, name


def _row(what: str, group: str, name: str, found: Counter[tuple[str, str]]) -> dict[str, object]:
    number = Counter[str]()
    for (outcome, _), n in found.items():
        number[outcome] += n
    elsewhere = {other: n for (outcome, other), n in found.items() if outcome == OTHER}
    n_cases = number[OWN] + number[OTHER]
    most = max(sorted(elsewhere), key=elsewhere.__getitem__, default="")
    return {
        "what": what,
        "group": group,
        "class": name,
        "other_class": other_side(name) if what == SIDE else most,
        "n_cases": n_cases,
        "n_confused": number[OTHER],
        "n_next": sum(n for other, n in elsewhere.items() if _is_next(what, name, other)),
        "share": number[OTHER] / n_cases if n_cases else float("nan"),
        "n_nowhere": number[NOWHERE],
        "n_empty": number[EMPTY],
        "n_missing": number[MISSING],
    }


def _is_next(what: str, name: str, other: str) -> bool:
    places = place_in_row(name), place_in_row(other)
    if what == SIDE or places[0] is None or places[1] is None:
        return what == SIDE
    return abs(places[0][1] - places[1][1]) == 1
