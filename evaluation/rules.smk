"""Data, stages of trainings, predictions, scores, tables."""

import re

from evaluation.datasets.phantoms.patients import RECIPE
from evaluation.datasets.registry import find_card
from evaluation.files.identity import digest
from evaluation.workflow.digests import (
    collection_digest,
    measure_digest,
    overlaps_digest,
    predict_digest,
    raters_digest,
    split_digest,
    standardise_digest,
    tables_digest,
)
from evaluation.datasets.sharding import n_shards, n_test_shards
from evaluation.workflow.limits import of_rule


wildcard_constraints:
    dataset=r"[a-z0-9_]+",
    model=r"[A-Za-z0-9_.-]+",
    shard=r"\d+",


# Seconds each: not worth a job of a cluster.
localrules:
    split,
    record,


# Cards of the entries that several raters have drawn.
RATED = [card for name in PLAN.entries if (card := find_card(name)).raters is not None]


def shard_outputs(dataset):
    shards = range(n_shards(find_card(dataset), RUN))
    return [PATHS.case_shard(dataset, k) for k in shards]


def test_shards(models, entries):
    """Model, dataset and shard of everything that is predicted and scored."""
    return [
        (model, dataset, k)
        for model in models
        for dataset in entries
        for k in range(n_test_shards(find_card(dataset), RUN))
    ]


def prediction_shards(models, entries):
    return [PATHS.prediction_shard(*shard) for shard in test_shards(models, entries)]


def score_shards(models, entries):
    """Score rows of each shard, and what became of its sides and neighbours."""
    return [
        path(*shard)
        for shard in test_shards(models, entries)
        for path in (PATHS.score_shard, PATHS.judged_shard)
    ]


def model_files(model, dataset):
    """What a model's training leaves behind; models without a training need none."""
    return [stage.output for stage in STAGES.before_prediction(model, dataset)]


def of_stage(name):
    """A function for the rules below: a resource of the job's stage, as its model states it."""
    return lambda w, attempt=1: STAGES.by_output[w.stage].resource(name, attempt)


def settings_of_entry(step, digest_of):
    """An input function: the settings of a step on the job's entry."""
    return lambda w: settings(
        step, w.dataset, lambda: digest_of(find_card(w.dataset), RUN)
    )


def any_of(names):
    """A wildcard constraint; the empty list matches nothing."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


rule cohort:
    """Virtual patients in the raw layouts of their datasets (synthetic runs only)."""
    input:
        settings(
            "cohort", "all", lambda: digest(RECIPE, RUN.cohort, RUN.seed, RUN.entries)
        ),
    output:
        f"{RUN.raw_root}/cohort.json",
    log:
        f"{PATHS.log_folder}/cohort.log",
    benchmark:
        f"{ROOT}/benchmarks/cohort.tsv"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "{SATBENCH:q} cohort --run {ROOT} --jobs {threads} > {log} 2>&1"


rule standardise:
    """Raw dataset -> cases on their native grid with their true spacing."""
    input:
        settings_of_entry("standardise", standardise_digest),
        lambda w: rules.cohort.output if RUN.data_kind == "synthetic" else [],
    output:
        PATHS.case_shard("{dataset}", "{shard}"),
    log:
        f"{PATHS.log_folder}/standardise/{{dataset}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/standardise/{{dataset}}-{{shard}}.tsv"
    # First, so that the joint training, the longest job, can start early.
    priority: 50
    threads: 1
    resources:
        mem_mb=of_rule("standardise", "mem_mb"),
        runtime=of_rule("standardise", "runtime"),
    shell:
        "{SATBENCH:q} standardise --run {ROOT} --dataset {wildcards.dataset}"
        " --shard {wildcards.shard} --jobs {threads} > {log} 2>&1"


rule split:
    """Which case of which patient is for training, which for testing."""
    input:
        settings_of_entry("split", split_digest),
        lambda w: shard_outputs(w.dataset),
    output:
        PATHS.split("{dataset}"),
    log:
        f"{PATHS.log_folder}/split/{{dataset}}.log",
    priority: 50
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "{SATBENCH:q} split --run {ROOT} --dataset {wildcards.dataset} > {log} 2>&1"


rule collection:
    """Scans, annotations and classes of the run's cases, by entry, class and region."""
    input:
        settings("collection", "all", lambda: collection_digest(RUN, PLAN)),
        # They name the contents of the labels; a case that is as it was is not counted again.
        [PATHS.split(dataset) for dataset in PLAN.entries],
    output:
        [
            update(PATHS.collection(name))
            for name in (
                "entries",
                "classes",
                "regions",
            )
        ],
    log:
        f"{PATHS.log_folder}/collection.log",
    benchmark:
        f"{ROOT}/benchmarks/collection.tsv"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 480 * attempt,
    shell:
        "{SATBENCH:q} data collection --run {ROOT} > {log} 2>&1"


rule stage:
    """A stage of a model's training; the model states what it needs, asks for and does."""
    input:
        lambda w: settings(STEP, w.stage, lambda: STAGES.by_output[w.stage].settings),
        lambda w: STAGES.by_output[w.stage].stage.needs,
    output:
        ROOT / "{stage}",
    log:
        f"{PATHS.log_folder}/{STEP}/{{stage}}.log",
    benchmark:
        f"{ROOT}/benchmarks/{STEP}/{{stage}}.tsv"
    wildcard_constraints:
        stage=any_of(STAGES.outputs(gpu=False)),
    priority: lambda w: STAGES.by_output[w.stage].stage.priority
    threads: of_stage("threads")
    resources:
        **{name: of_stage(name) for name in STAGES.resources},
    params:
        stage=lambda w: STAGES.by_output[w.stage].options,
    shell:
        "{SATBENCH:q} train --run {ROOT} {params.stage} --threads {threads}"
        " --gpus {resources.gpu} --nodes {resources.nodes} > {log} 2>&1"


use rule stage as stage_on_gpu with:
    wildcard_constraints:
        stage=any_of(STAGES.outputs(gpu=True)),


rule predict:
    """Images only -> layers, and a status for each case."""
    input:
        lambda w: settings(
            "predict",
            f"{w.model}/{w.dataset}",
            lambda: predict_digest(w.model, find_card(w.dataset), RUN),
        ),
        PATHS.split("{dataset}"),
        lambda w: model_files(w.model, w.dataset),
    output:
        PATHS.prediction_shard("{model}", "{dataset}", "{shard}"),
    log:
        f"{PATHS.log_folder}/predict/{{model}}/{{dataset}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/predict/{{model}}/{{dataset}}-{{shard}}.tsv"
    wildcard_constraints:
        model=any_of(m for m in RUN.models if not STAGES.predicts_on_gpu(m)),
    threads: 1
    resources:
        mem_mb=of_rule("predict", "mem_mb"),
        runtime=of_rule("predict", "runtime"),
    params:
        device="",
    shell:
        "{SATBENCH:q} predict --run {ROOT} --model {wildcards.model} --dataset {wildcards.dataset}"
        " --shard {wildcards.shard} {params.device} > {log} 2>&1"


use rule predict as predict_on_gpu with:
    wildcard_constraints:
        model=any_of(m for m in RUN.models if STAGES.predicts_on_gpu(m)),
    resources:
        gpu=1,
        mem_mb=of_rule("predict_on_gpu", "mem_mb"),
        runtime=of_rule("predict_on_gpu", "runtime"),
    params:
        device="--gpu",


rule measure:
    """Predictions and references -> score rows, and what became of sides and neighbours."""
    input:
        settings_of_entry("measure", measure_digest),
        # It names the contents of the references, as the next one does those of the answers.
        PATHS.split("{dataset}"),
        PATHS.prediction_shard("{model}", "{dataset}", "{shard}"),
    output:
        PATHS.score_shard("{model}", "{dataset}", "{shard}"),
        PATHS.judged_shard("{model}", "{dataset}", "{shard}"),
    log:
        f"{PATHS.log_folder}/measure/{{model}}/{{dataset}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/measure/{{model}}/{{dataset}}-{{shard}}.tsv"
    threads: 1
    resources:
        mem_mb=of_rule("measure", "mem_mb"),
        runtime=of_rule("measure", "runtime"),
    shell:
        "{SATBENCH:q} measure --run {ROOT} --model {wildcards.model} --dataset {wildcards.dataset}"
        " --shard {wildcards.shard} --jobs {threads} > {log} 2>&1"


rule audit:
    """The same scan in two entries, or on two sides of a split, found by its content."""
    input:
        settings("audit", "all", lambda: overlaps_digest(PLAN.entries)),
        [PATHS.split(dataset) for dataset in PLAN.entries],
    output:
        PATHS.table("audit"),
    log:
        f"{PATHS.log_folder}/audit.log",
    benchmark:
        f"{ROOT}/benchmarks/audit.tsv"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 480 * attempt,
    shell:
        "{SATBENCH:q} data audit --run {ROOT} --jobs {threads} > {log} 2>&1"


if RATED:

    rule raters:
        """Raters against each other on the test cases of entries whose cards name several."""
        input:
            settings(
                "raters", "all", lambda: digest([raters_digest(c, RUN) for c in RATED])
            ),
            [PATHS.split(card.id) for card in RATED],
        output:
            update(PATHS.table("raters")),
        log:
            f"{PATHS.log_folder}/raters.log",
        benchmark:
            f"{ROOT}/benchmarks/raters.tsv"
        threads: 1
        resources:
            mem_mb=lambda w, attempt: 8000 * attempt,
            runtime=lambda w, attempt: 480 * attempt,
        shell:
            "{SATBENCH:q} ceiling --run {ROOT} --jobs {threads} > {log} 2>&1"


rule aggregate:
    """Score rows of all models -> tables; shards are joined on the way."""
    input:
        settings("tables", "all", lambda: tables_digest(RUN, PLAN)),
        score_shards(RUN.models, PLAN.entries),
        [PATHS.split(dataset) for dataset in PLAN.entries],
        # Virtual patients share no scan by construction.
        PATHS.table("audit") if RUN.data_kind == "real" else [],
    output:
        # Good tables stay until there are new ones, also if making them fails.
        [
            update(PATHS.table(name))
            for name in (
                "overall",
                "dataset",
                "class",
                "region",
                "lesion",
                "confusions",
            )
        ],
        [update(PATHS.scores(m, d)) for m in RUN.models for d in PLAN.entries],
        update(PATHS.notes),
    log:
        f"{PATHS.log_folder}/aggregate.log",
    benchmark:
        f"{ROOT}/benchmarks/aggregate.tsv"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=60,
    shell:
        "{SATBENCH:q} aggregate --run {ROOT} > {log} 2>&1"


rule record:
    """What ran until the tables: code, configuration, inputs, packages, seconds, memory."""
    input:
        settings("record", "all", lambda: digest(ADDED.models)),
        rules.aggregate.output,
    output:
        update(f"{ROOT}/run.json"),
        [update(PATHS.table(name)) for name in ("runtime", "cost")],
    log:
        f"{PATHS.log_folder}/record.log",
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "{SATBENCH:q} record --run {ROOT} > {log} 2>&1"
