"""Every table of the project, declared once: score rows and what is made from them."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.classes.modality import MODALITIES
from evaluation.files.tables import (
    Column,
    Table,
    data_dictionary,
    read_table,
    spacing_from_text,
    spacing_text,
    to_arrow,
    write_table,
)
from evaluation.metrics.catalogue import find_metrics
from evaluation.protocol import (
    AGGREGATIONS,
    COMPOSITIONS,
    COVERAGES,
    DEFAULT_METRICS,
    KINDS,
    POLICIES,
    SCHEMES,
    SIDES,
    SPACES,
    STATISTICS,
    STATUSES,
    VIEWS,
)

__all__ = [
    "TABLES", "Column", "Table", "data_dictionary", "read_table", "spacing_from_text",
    "spacing_text", "to_arrow", "write_table",
]  # fmt: skip

RANKINGS = ("mean-then-rank", "rank-then-mean", "significance")
SCOPES = ("overall", "dataset", "region")

_DATA_KIND = Column("data_kind", "text", "phantoms or real scans", allowed=("synthetic", "real"))
_MODEL = Column("model", "text", "model id")
_POLICY = Column("policy", "text", "what empty masks count", allowed=POLICIES)
_SPACE = Column("space", "text", "grid on which masks were compared", allowed=SPACES)
_MEASURED_AT = Column("tolerance_mm", "number", "tolerance of metrics that have one", "mm")
_TOLERANCE = Column("tolerance_mm", "number", "tolerance of the metric; nan: it has none", "mm")
_VIEW = Column(
    "view",
    "text",
    "test cases: all of them (paper), or without those linked to a training scan (clean)",
    allowed=VIEWS,
)
_COVERAGE = Column(
    "coverage",
    "text",
    "supported: classes that this model supports; common: class x case pairs that all models "
    "support; zero: unsupported counts as missing. The last two exist only where a model leaves "
    "classes out",
    allowed=COVERAGES,
)
_AGGREGATION = Column(
    "aggregation",
    "text",
    "macro: scan mean, then class, then class over datasets, unweighted; scans: every score "
    "counts once; patients: mean of patients' means",
    allowed=AGGREGATIONS,
)
_DATASET = Column("dataset", "text", "entry id")
_MODALITY = Column(
    "modality", "text", "modality of the scans", allowed=(*MODALITIES, "unknown", "any")
)
_CLASS = Column("class", "text", "class name in the vocabulary")
_KIND = Column(
    "kind",
    "text",
    "annotated class; or generated class, predicted as such (direct) or as a union of parts",
    allowed=KINDS,
)
_REGION = Column("region", "text", "one of eight body regions, or `lesion`")
_REGION_OF_CLASS = Column(
    "region", "text", "region in the anatomical scheme; `unassigned`: in no region's mean"
)
_SCHEME = Column("scheme", "text", "how classes are given to regions", allowed=SCHEMES)
_COMPOSITION = Column(
    "composition",
    "text",
    "classes of a region's mean: all keys; annotated leaves only; left and right merged",
    allowed=COMPOSITIONS,
)
_METRIC = Column("metric", "text", "id of the metric (`satbench metrics` has its unit and range)")
_SCOPE = Column("scope", "text", "what is compared", allowed=SCOPES)
_KEY = Column("key", "text", "`all`, entry id or region")
_NOTE = Column("note", "text", "interval, rank, test: `n too small` below 11 independent patients")

_VALUES = (
    _METRIC,
    _TOLERANCE,
    Column("value", "number", "mean of the metric; nan: nothing is scored"),
    Column("value_low", "number", "lower end of its 95 % interval over patients"),
    Column("value_high", "number", "upper end of its 95 % interval over patients"),
    Column("n_scores", "count", "class x scan values in the mean"),
    Column("n_cases", "count", "scans in the mean"),
    Column("n_cases_expected", "count", "test scans by the plan that should be in it"),
    Column("n_patients", "count", "patients in the mean, linked across entries"),
    Column(
        "n_classes",
        "count",
        "classes in the mean: (modality, class) keys; in means over entries, classes of entries",
    ),
    Column("n_classes_expected", "count", "classes that the configuration asks for"),
    Column(
        "n_missing",
        "count",
        "class x scan pairs without a prediction, which count what the metric's record says "
        "(dsc, nsd: 0)",
    ),
    _NOTE,
)
_ENTRIES = (
    Column("n_entries", "count", "entries in the mean"),
    Column("n_entries_expected", "count", "entries that the configuration asks for"),
)
_FALSE_POSITIVES = (
    Column("n_absent", "count", "class x scan pairs with an empty reference and a prediction file"),
    Column(
        "false_positive_rate", "number", "share of those in which something is predicted", "0..1"
    ),
    Column("false_positive_ml", "number", "mean predicted volume in those false positives", "ml"),
)
_COMMON = (_DATA_KIND, _MODEL, _POLICY, _SPACE, _VIEW, _COVERAGE, _AGGREGATION)

_ABOUT = (
    _MODEL,
    _DATASET,
    Column("case", "text", "case id"),
    Column("patient", "text", "patient id within the entry"),
    Column("modality", "text", "modality of the scan", allowed=(*MODALITIES, "unknown")),
    _CLASS,
    _KIND,
    Column("status", "text", "what was there to compare", allowed=STATUSES),
    Column("reason", "text", "why a prediction is missing or unsupported"),
)
_MEASURED = (
    _MEASURED_AT,
    _SPACE,
    Column("spacing_mm", "text", "voxel spacing x, y, z used, as `1x1x3`", "mm"),
    Column("reference_voxels", "count", "voxels of the reference (-1 = unknown)", "voxels"),
    Column("prediction_voxels", "count", "voxels of the prediction", "voxels"),
    Column("intersection_voxels", "count", "voxels in both", "voxels"),
    Column("surface_reference_total_mm2", "number", "area of the reference", "mm2"),
    Column("surface_reference_within_mm2", "number", "of it, within the tolerance", "mm2"),
    Column("surface_prediction_total_mm2", "number", "area of the prediction", "mm2"),
    Column("surface_prediction_within_mm2", "number", "of it, within the tolerance", "mm2"),
    Column("implementation", "text", "engine that measured"),
    Column("version", "text", "its version"),
    Column("definition", "text", "of surfaces and their distances (empty = unknown)"),
    Column("field_mm", "number", "diagonal of the scan's field (nan = unknown)", "mm"),
)


def scores_table(metrics: Sequence[str] = DEFAULT_METRICS) -> Table:
    """The score rows of a run: one column for each metric asked for.

    Raises:
        BenchError: there is no such metric.
    """
    values = [
        Column(metric.id, "number", metric.definition, metric.range_text)
        for metric in find_metrics(metrics)
    ]
    columns = (*_ABOUT, *values, *_MEASURED)
    return Table("scores", "one case x class x kind x tolerance x space", columns)


SCORES = scores_table()
INSTANCES = Table(
    "instances",
    "one lesion (or other single structure) of the reference, or a predicted one matched to none",
    (
        *_ABOUT[:-2],
        _SPACE,
        Column("side", "text", "whose structure", allowed=("reference", "prediction")),
        Column("instance", "count", "number on its side, in the order of first voxels"),
        Column("volume_ml", "number", "its volume", "ml"),
        Column("matched_to", "text", "numbers of the predicted structures that stand for it"),
        Column("detected", "flag", "of the reference, and matched"),
        Column("iou", "number", "with all of these together", "0..1"),
        Column("dsc", "number", "with all of these together; missed: 0", "0..1"),
        Column("hd95_mm", "number", "95th percentile of the distances to them", "mm"),
        _ABOUT[-2],
        Column("matching", "text", "how structures are told apart and matched"),
        Column("definition", "text", "of the distances"),
    ),
)
DATASET = Table(
    "dataset",
    "a model's mean on one entry",
    (*_COMMON, _DATASET, _MODALITY, *_VALUES, *_FALSE_POSITIVES),
)
DATASET_CLASS = Table(
    "dataset_class",
    "a model's mean for one class on one entry",
    (
        *_COMMON,
        _DATASET,
        _MODALITY,
        _CLASS,
        _KIND,
        Column("preferred", "flag", "this kind enters the other tables (direct before union)"),
        Column("leaf", "flag", "annotated, not generated from other classes"),
        _REGION_OF_CLASS,
        *_VALUES,
        *_FALSE_POSITIVES,
    ),
)
CLASS = Table(
    "class",
    "a model's mean for one class over all entries that have it",
    (
        *_COMMON,
        _MODALITY,
        _CLASS,
        _REGION_OF_CLASS,
        *_VALUES,
        *_ENTRIES,
    ),
)
REGION = Table(
    "region",
    "a model's mean over the classes of a region",
    (*_COMMON, _SCHEME, _COMPOSITION, _REGION, *_VALUES, *_ENTRIES),
)
LESION = Table(
    "lesion",
    "a model's mean for one of the lesion group's classes over all entries that have it",
    (*_COMMON, _MODALITY, _CLASS, *_VALUES, *_ENTRIES),
)
ASPECT = Table(
    "aspect",
    "a model's mean over the classes of an aspect, a named set that the study or the run declares",
    (*_COMMON, Column("aspect", "text", "id of the aspect"), *_VALUES),
)
OVERALL = Table(
    "overall",
    "a model's one number",
    (
        *_COMMON,
        Column(
            "statistic",
            "text",
            "entries: mean over entries of mean over classes; classes: mean over (modality, "
            "class); regions: mean over regions and lesion; scans, patients: pooled",
            allowed=STATISTICS,
        ),
        Column(
            "complete", "flag", "covers every entry, class and test scan for which there is data"
        ),
        *_VALUES,
        *_ENTRIES,
        *_FALSE_POSITIVES,
    ),
)
_COMPARED = (_DATA_KIND, _POLICY, _SPACE, _VIEW, _COVERAGE, _SCOPE, _KEY, _METRIC, _TOLERANCE)
RANKS = Table(
    "ranks",
    "a model's rank by one method",
    (
        *_COMPARED,
        Column("method", "text", "how ranks are made", allowed=RANKINGS),
        _MODEL,
        Column("rank", "number", "rank, 1 = best; ties share the mean rank"),
        Column("rank_low", "number", "lower end of the 95 % interval over bootstraps"),
        Column("rank_high", "number", "upper end of the 95 % interval over bootstraps"),
        Column("first_share", "number", "share of bootstraps in which it is first", "0..1"),
        Column("value", "number", "what was ranked: mean score, mean rank, or number of wins"),
        Column(
            "kendall_tau", "number", "mean agreement of bootstrap rankings with this one", "-1..1"
        ),
        Column("n_models", "count", "models ranked"),
        Column("n_patients", "count", "patients in the comparison"),
        Column("n_scores", "count", "class x scan pairs in the comparison"),
        Column("complete", "flag", "has every value, each by a prediction; others are not ranked"),
        _NOTE,
    ),
)
PAIRS = Table(
    "pairs",
    "two models compared on the class x case pairs that both support",
    (
        *_COMPARED,
        Column("model_a", "text", "first model"),
        Column("model_b", "text", "second model"),
        Column(
            "difference",
            "number",
            "by how much a is better than b: macro mean of a minus that of b, or b minus a where "
            "lower values of the metric are better",
        ),
        Column("low", "number", "lower end of its 95 % interval"),
        Column("high", "number", "upper end of its 95 % interval"),
        Column(
            "effect_size",
            "number",
            "mean of the patients' contributions to the difference / their deviation",
        ),
        Column("win_share", "number", "share of patients better under a (ties count half)", "0..1"),
        Column("error", "number", "standard error of the difference, over patients by entry"),
        Column("freedom", "number", "its degrees of freedom (Satterthwaite)"),
        Column("p", "number", "two-sided test of the same macro mean by its error", "0..1"),
        Column("p_holm", "number", "p, Holm-corrected over the family", "0..1"),
        Column("p_wilcoxon", "number", "Wilcoxon signed-rank test on patients' means", "0..1"),
        Column("p_wilcoxon_holm", "number", "p_wilcoxon, Holm-corrected over the family", "0..1"),
        Column(
            "p_sign_flip",
            "number",
            "sign-flip test by patient: for none of them is either model favoured; conservative "
            "where entries disagree, not corrected",
            "0..1",
        ),
        Column(
            "p_false_order",
            "number",
            "probability that the order is the other way round (flat prior)",
            "0..0.5",
        ),
        Column(
            "equivalent_within",
            "number",
            "smallest margin within which the two are equivalent (two one-sided tests, 5 %)",
        ),
        Column(
            "smallest_shown",
            "number",
            "true difference that these patients show (5 %, power 80 %)",
        ),
        Column(
            "n_needed",
            "number",
            "patients that would show a true difference as large as the one found (5 %, power "
            "80 %), entries' shares of patients as they are",
        ),
        Column("family", "text", "the tests corrected together"),
        Column("n_family", "count", "number of tests in the family"),
        Column("n_patients", "count", "patients"),
        Column("n_scores", "count", "class x scan pairs"),
        _NOTE,
        Column("reason", "text", "why win_share leans the other way than the difference"),
    ),
)
SENSITIVITY = Table(
    "sensitivity",
    "one choice changed, everything else as in the headline",
    (
        _DATA_KIND,
        _SPACE,
        Column("choice", "text", "what was changed"),
        Column("baseline", "text", "the headline's value"),
        Column("alternative", "text", "the other value"),
        _SCOPE,
        _KEY,
        _METRIC,
        _TOLERANCE,
        Column("winner_baseline", "text", "best model in the headline"),
        Column("winner_alternative", "text", "best model after the change"),
        Column("flips", "flag", "the winner changes"),
        Column("kendall_tau", "number", "agreement of the two rankings", "-1..1"),
        Column("largest_rank_change", "number", "of any model", "ranks"),
        Column("largest_change", "number", "of any model's value"),
        Column("n_models", "count", "models compared"),
    ),
)
AUDIT = Table(
    "audit",
    "a link between two scans of the run",
    (
        _DATASET,
        Column("case", "text", "case id"),
        Column("patient", "text", "patient id within the entry"),
        Column("split", "text", "side of the split", allowed=SIDES),
        Column("other_dataset", "text", "entry of the linked scan"),
        Column("other_case", "text", "its case id"),
        Column("other_patient", "text", "its patient id"),
        Column("other_split", "text", "its side", allowed=SIDES),
        Column("verdict", "text", "copied voxels, same scan, same patient, ..."),
        Column("source", "text", "how it was found", allowed=("content", "declared", "patient")),
        Column("accepted", "flag", "the link counts (a candidate does not)"),
        Column("declared", "flag", "a dataset card announces an overlap of the two entries"),
        Column("shared_hashes", "number", "shared voxel-sketch hashes"),
        Column("votes", "number", "key points that agree on one alignment"),
        Column("correlation", "number", "locally normalised correlation after alignment", "-1..1"),
    ),
)
COST = Table(
    "cost",
    "what a model costs",
    (
        _DATA_KIND,
        _MODEL,
        Column("networks", "count", "networks that make up the model"),
        Column("parameters", "number", "all networks together, without a frozen text encoder"),
        Column(
            "train_seconds", "number", "training, all networks and resumes; nan: not measured", "s"
        ),
        Column("predict_seconds_per_case", "number", "median over test scans", "s"),
        Column("peak_memory_mib", "number", "largest of all steps", "MiB"),
        Column("device", "text", "processor or accelerator"),
    ),
)
RUNTIME = Table(
    "runtime",
    "time of one step of one model on one entry",
    (
        _DATA_KIND,
        _MODEL,
        _DATASET,
        Column("step", "text", "step of the path", allowed=("prepare", "train", "predict")),
        Column("seconds", "number", "all cases or networks, resumes too; nan: not measured", "s"),
        Column("seconds_per_case", "number", "median over cases", "s"),
        Column("n_cases", "count", "cases that were measured"),
    ),
)
COMPLETENESS = Table(
    "completeness",
    "one entry of the run for one model: is it there, and how much of it",
    (
        _DATA_KIND,
        _MODEL,
        _DATASET,
        Column(
            "status",
            "text",
            "how much is there",
            allowed=("complete", "incomplete", "not run", "no data"),
        ),
        Column("reason", "text", "why it is not complete"),
        Column("n_cases", "count", "scans with a prediction"),
        Column("n_cases_expected", "count", "test scans by the plan, usable or not"),
        Column("n_classes", "count", "classes that the model supports"),
        Column("n_classes_expected", "count", "classes in the run's scope"),
    ),
)
PUBLISHED = Table(
    "published",
    "a published number and ours in the same protocol",
    (
        Column("source", "text", "document"),
        Column("table", "text", "table of the document"),
        Column("row", "count", "row in print order, from 1"),
        Column("printed_row", "text", "row label as printed"),
        Column(
            "scope",
            "text",
            "what the row is",
            allowed=("region", "class", "dataset", "lesion", "average", "aspect"),
        ),
        Column("key", "text", "our id: region, class name, entry id or `all`"),
        Column("modality", "text", "modality", allowed=(*MODALITIES, "any")),
        _MODEL,
        _METRIC,
        Column("printed", "text", "value as printed", "percent"),
        Column("value", "number", "the same", "0..1"),
        Column("ours", "number", "ours in the study's protocol and split", "0..1"),
        Column("ours_low", "number", "lower end of its 95 % interval", "0..1"),
        Column("ours_high", "number", "upper end of its 95 % interval", "0..1"),
        Column("difference", "number", "ours minus published", "-1..1"),
        Column("space", "text", "space of ours; `` = none", allowed=("", *SPACES)),
        Column("policy", "text", "policy of ours; `` = none", allowed=("", *POLICIES)),
        Column("n_cases", "count", "scans in ours"),
        Column("note", "text", "what to know about this number"),
    ),
)
CLAIMS = Table(
    "claims",
    "a claim of a published document, checked against its own numbers",
    (
        Column("source", "text", "document"),
        Column("where", "text", "place in the document"),
        Column("claim", "text", "what is claimed, in our words"),
        Column("printed", "text", "value or list claimed"),
        Column("recomputed", "text", "value or list from the document's own tables"),
        Column("holds", "flag", "both agree"),
        Column("note", "text", "remark"),
    ),
)
CONFUSIONS = Table(
    "confusions",
    "how often a model's class lies in a similar one: a pair of sides, or a member of a row",
    (
        _DATA_KIND,
        _MODEL,
        _DATASET,
        Column(
            "what",
            "text",
            "side: left and right exchanged, one row for a pair; neighbour: found in another rib, "
            "vertebra or disc of its row",
            allowed=("side", "neighbour"),
        ),
        Column("group", "text", "the structure without its side, or the row"),
        Column("class", "text", "class name; of a pair the left one"),
        Column(
            "other_class", "text", "its other side; or where it lies most often if not in its place"
        ),
        Column("n_cases", "count", "scans in which it is shown, and found in a class of the group"),
        Column("n_confused", "count", "of them, more in another class's reference than in its own"),
        Column("n_next", "count", "of those, in the one right beside it"),
        Column("share", "number", "n_confused / n_cases", "0..1"),
        Column("n_nowhere", "count", "scans in which it overlaps no class of its row"),
        Column("n_empty", "count", "scans in which it (of a pair: both) is predicted empty"),
        Column("n_missing", "count", "scans that show it and have no answer"),
    ),
)
LESION_VOLUMES = Table(
    "lesion_volumes",
    "how many single lesions of the references a model detects, by their volume",
    (
        _DATA_KIND,
        _MODEL,
        _DATASET,
        *[column for column in _ABOUT if column.name in ("modality", "class", "kind")],
        _SPACE,
        Column("matching", "text", "how lesions are told apart and matched"),
        Column("from_ml", "number", "smallest volume", "ml"),
        Column("below_ml", "number", "volumes are smaller than this; infinite: no end", "ml"),
        Column("n_lesions", "count", "lesions of all test cases; without an answer all are missed"),
        Column("n_detected", "count", "of them, matched"),
        Column("recall", "number", "n_detected / n_lesions", "0..1"),
    ),
)
STRESS = Table(
    "stress",
    "how a promptable model answers when the words of its prompts change in one way",
    (
        _DATA_KIND,
        _MODEL,
        Column("kind", "text", "how the words change"),
        Column(
            "wanted",
            "text",
            "same: the mask of the plain name; other: that of another structure; none: no voxel",
            allowed=("same", "other", "none"),
        ),
        Column(
            "quantity",
            "text",
            "named, dsc: DSC of the plain name's and of the changed words' mask with the "
            "reference of the plain name; lost: named - dsc; meant: DSC with what the words mean; "
            "unchanged: DSC of the two masks; alarm, alarm_ml: share of prompts with a false "
            "alarm, and its volume, mean over all prompts",
            allowed=("named", "dsc", "lost", "meant", "unchanged", "alarm", "alarm_ml"),
        ),
        Column("value", "number", "mean over entries of mean over classes of mean over scans"),
        Column("value_low", "number", "lower end of its 95 % interval over patients"),
        Column("value_high", "number", "upper end of its 95 % interval over patients"),
        Column("n_prompts", "count", "prompts of this kind"),
        Column("n_refused", "count", "of them, texts that the model refused"),
        Column("n_cases", "count", "scans in which the kind was asked"),
        Column("n_failed", "count", "scans, of all asked about, without an answer"),
        Column("n_patients", "count", "patients of these scans, within their entries"),
        Column("n_classes", "count", "classes of entries"),
        Column("verdict", "text", "of the kind; the same in all its rows"),
    ),
)
RATERS = Table(
    "raters",
    "how raters agree with each other on the test cases of an entry, by the engine of the scores",
    (
        _DATA_KIND,
        _DATASET,
        Column("class", "text", "class name; `*`: mean over the entry's classes"),
        _METRIC,
        _TOLERANCE,
        Column("value", "number", "mean over scans of mean over pairs of raters; see metrics"),
        Column("value_low", "number", "lower end of its 95 % interval over patients"),
        Column("value_high", "number", "upper end of its 95 % interval over patients"),
        Column("n_cases", "count", "scans that two raters or more have drawn"),
        Column("n_patients", "count", "patients of these scans"),
        Column("n_raters", "count", "different raters of these scans"),
        Column("n_pairs", "count", "pairs of raters, summed over scans"),
        Column(
            "apart_mm",
            "number",
            "distance that 95 % of the raters' surfaces keep to each other: a tolerance for NSD",
            "mm",
        ),
    ),
)
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        SCORES, DATASET, DATASET_CLASS, CLASS, REGION, LESION, ASPECT, OVERALL, RANKS, PAIRS,
        SENSITIVITY, AUDIT, COST, RUNTIME, COMPLETENESS, CONFUSIONS, LESION_VOLUMES,
        PUBLISHED, CLAIMS, STRESS, RATERS,
    )
}  # fmt: skip
