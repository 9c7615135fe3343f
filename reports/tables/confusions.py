"""Sides exchanged and neighbours confused, one row for each model, entry and kind of structure."""

from __future__ import annotations

from reports.layout.report_table import ReportColumn, ReportTable
from reports.source.run import RunSource

SIDES = "left and right"
_COUNTS = ["n_cases", "n_confused", "n_next", "n_nowhere", "n_empty", "n_missing"]


def confusions_table(source: RunSource) -> ReportTable | None:
    """How often masks lie in the other side, or in another member of a row; None: not judged."""
    frame = source.table("confusions")
    if frame is None or frame.empty:
        return None
    # All pairs of an entry together; the result table has each pair and each rib alone.
    frame = frame.assign(group=frame["group"].where(frame["what"] != "side", SIDES))
    frame = frame.sort_values(
        ["dataset", "what", "group"], ascending=[True, False, True], kind="stable"
    )
    rows = []
    for (dataset, group, model), part in frame.groupby(["dataset", "group", "model"], sort=False):
        n = {name: int(part[name].sum()) for name in _COUNTS}
        rows.append(
            (
                source.dataset_title(str(dataset)),
                str(group),
                source.model_title(str(model)),
                f"{n['n_confused']} of {n['n_cases']}",
                100 * n["n_confused"] / n["n_cases"] if n["n_cases"] else None,
                n["n_next"],
                n["n_nowhere"],
                n["n_empty"],
                n["n_missing"],
            )
        )
    return ReportTable(
        name="confusions",
        title="Sides and neighbours",
        caption="How often a mask lies more in the reference of its other side, or of another "
        "rib, vertebra or disc of its row, than in its own: of all (scan, pair of sides)s, and of "
        "all (scan, member of a row)s that lie in one at all. Native grid, all test cases.",
        columns=(
            ReportColumn("dataset", "Entry"),
            ReportColumn("group", "Structures"),
            ReportColumn("model", "Model"),
            ReportColumn("confused", "Confused", right=True),
            ReportColumn("share", "%", digits=1, right=True),
            ReportColumn("n_next", "With the one beside it", right=True),
            ReportColumn("n_nowhere", "In none", right=True),
            ReportColumn("n_empty", "Empty", right=True),
            ReportColumn("n_missing", "Missing", right=True),
        ),
        rows=tuple(rows),
    )
