"""Prompts under stress: how each promptable model answers when the words change."""

from __future__ import annotations

from evaluation.stress.kinds import KINDS
from reports.layout.report_table import ReportCell, ReportColumn, ReportTable
from reports.source.run import RunSource

WANTED = {"same": "the same mask", "other": "another mask", "none": "no mask"}
CAPTION = (
    "What becomes of a mask when the words of its prompt change (`satbench stress`). By name: DSC "
    "of the plain names; lost: how much of it goes with the changed words, wanted 0 where they "
    "mean the same and all of it elsewhere; as meant: DSC with the structure that the words mean; "
    "unchanged: DSC of the masks before and after, wanted 1 where they mean the same and 0 "
    "elsewhere; false alarms: share of prompts that mean nothing in the scan and find something, "
    "and volume, mean over these prompts. In brackets 95 % intervals over patients. Mean over "
    "entries of mean over classes, native grid."
)


def stress_table(source: RunSource) -> ReportTable | None:
    """One row for each model and kind of stress; None: no model was asked."""
    frame = source.table("stress")
    if frame is None or frame.empty:
        return None
    rows = []
    for (model, kind), part in frame.groupby(["model", "kind"], sort=False):
        by = part.set_index("quantity")
        first = part.iloc[0]

        def number(quantity: str, digits: int = 2, by: object = by) -> ReportCell:
            value, low, high = by.loc[quantity, ["value", "value_low", "value_high"]]  # type: ignore[attr-defined]
            note = f"{low:.{digits}f} to {high:.{digits}f}" if low == low else ""
            return ReportCell(float(value), note)

        rows.append(
            (
                source.model_title(str(model)),
                KINDS[str(kind)].title,
                WANTED[str(first["wanted"])],
                number("named"),
                number("lost"),
                number("meant"),
                number("unchanged"),
                number("alarm"),
                number("alarm_ml", 1),
                f"{int(first['n_prompts'])} / {int(first['n_patients'])}",
                str(first["verdict"]),
            )
        )
    numbers = ("By name", "Lost", "As meant", "Unchanged", "False alarms")
    return ReportTable(
        name="stress",
        title="Prompts under stress",
        caption=CAPTION,
        columns=(
            ReportColumn("model", "Model"),
            ReportColumn("kind", "Words"),
            ReportColumn("wanted", "Wanted"),
            *(ReportColumn(n.lower().replace(" ", "_"), n, digits=2, right=True) for n in numbers),
            ReportColumn("alarm_ml", "ml", digits=1, right=True),
            ReportColumn("n", "Prompts / patients", right=True),
            ReportColumn("verdict", "Verdict"),
        ),
        rows=tuple(rows),
    )
