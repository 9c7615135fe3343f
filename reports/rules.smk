"""Tables, figures, gallery and leaderboard, from result tables."""

from evaluation.workflow.digests import tables_digest


rule report:
    """Everything that a paper or a visitor looks at, in reports/out/<run>/."""
    input:
        settings("tables", "all", lambda: tables_digest(RUN, PLAN)),
        rules.aggregate.output,
        rules.record.output,
        rules.collection.output,
        PATHS.table("raters") if RATED else [],
    output:
        update(f"reports/out/{RUN.name}/report.json"),
    log:
        f"{PATHS.log_folder}/report.log",
    benchmark:
        f"{ROOT}/benchmarks/report.tsv"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=60,
    shell:
        "{SATBENCH:q} report --run {ROOT} > {log} 2>&1"
