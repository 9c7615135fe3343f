"""SAT-Bench: from raw datasets to tables, figures and a leaderboard.

    snakemake -n                                plan the paper; no data is needed for that
    snakemake --profile slurm                   the paper, on a cluster
    snakemake --cores 2 --configfile config/demo.yaml

Logic lives in importable modules, never here: the rules in evaluation/ and reports/ read like a table,
and what a trained model does is stated by the model, in stages.
"""

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version, validate

from evaluation.workflow.configuration import config_from
from evaluation.errors import BenchError
from evaluation.models.presets import presets_of_run
from evaluation.workflow.jobs import HEAD_VARIABLE
from evaluation.paths import RunPaths
from evaluation.runs.declared import with_added
from evaluation.workflow.digests import declare, is_dry_run
from evaluation.workflow.lock import RunLock
from evaluation.workflow.slurm import ask_until_answered, remember_submission
from evaluation.workflow.watchdog import announce_workflow
from evaluation.workflow.announce import announce, announce_notes, say
from evaluation.workflow.forced import mark_forced
from evaluation.workflow.mending import mend
from evaluation.workflow.plan import plan_entries, start_run
from evaluation.workflow.stages import STEP, plan_stages

min_version("9.18")

if not workflow.overwrite_configfiles:

    configfile: "config/paper.yaml"


try:
    CONFIGURED = config_from(config, workflow.configfiles)
    ROOT = Path("results") / CONFIGURED.name
    if workflow.is_main_process and not is_dry_run(sys.argv):
        say(mend(ROOT, Path("reports/out") / CONFIGURED.name))
    # All rules see the models that `satbench add` put into the run beside the configured ones.
    RUN, ADDED = with_added(CONFIGURED, ROOT)
    PLAN = plan_entries(RUN)
    PATHS = RunPaths(ROOT)
    # Presets are read when a run is planned, and frozen when it starts; its jobs read them there.
    # Added models are not trained by the workflow.
    PRESETS = presets_of_run(
        PATHS, RUN, CONFIGURED.models, anew=workflow.is_main_process
    )
    STAGES = plan_stages(PATHS, RUN, CONFIGURED.models, PRESETS, PLAN.entries)
except BenchError as error:
    raise WorkflowError(str(error)) from None

# The exported schema, which editors use too; `--config` gives numbers in lists as text, so what
# is validated are the values as they were read.
validate(RUN.model_dump(mode="json"), "config/schema.json", set_default=False)

# The command of the environment that runs the workflow, whatever PATH a job has.
SATBENCH = Path(sys.executable).with_name("satbench")

# Each job's log begins with the place where it runs; `satbench jobs` reads it.
os.environ.setdefault(HEAD_VARIABLE, "1")

LOCK = RunLock(ROOT)

announce_workflow()
ask_until_answered()
if workflow.is_main_process:
    announce(RUN, PLAN, PATHS, ADDED, PRESETS)


DECLARED = set()


def settings(step, unit, digest_of):
    """The file with the digest of a step's settings; it is written while planning, if it changes.

    A file, since Snakemake's own record of parameters does not travel with a run's folder, and
    knows nothing of what was made by hand. A dry run of what was never started writes none.
    """
    path = PATHS.settings(step, unit)
    if workflow.is_main_process and path not in DECLARED:
        if is_dry_run(sys.argv) and not path.is_file():
            return []
        declare(path, digest_of())
        DECLARED.add(path)
    return path


include: "evaluation/rules.smk"
include: "reports/rules.smk"


localrules:
    all,
    tables,


rule all:
    default_target: True
    input:
        # Not only the ends: whatever is deleted is made again, with all that hangs on it. The
        # prepared training data are left out; they may go when a training is done.
        [shard_outputs(dataset) for dataset in PLAN.entries],
        [PATHS.split(dataset) for dataset in PLAN.entries],
        [
            model_files(model, dataset)
            for model in RUN.models
            for dataset in PLAN.entries
        ],
        prediction_shards(RUN.models, PLAN.entries),
        score_shards(RUN.models, PLAN.entries),
        rules.aggregate.output,
        rules.collection.output,
        rules.report.output,
        rules.record.output,


rule tables:
    input:
        rules.aggregate.output,


onstart:
    if workflow.is_main_process:
        try:
            LOCK.acquire()
            start_run(RUN, PLAN, PATHS, ADDED, PRESETS)
            mark_forced(workflow.dag)
            remember_submission(PATHS, log)
        except BenchError as error:
            raise WorkflowError(str(error)) from None


def say_failures():
    """Of each model, at the end of a call; a dry run never comes here."""
    from evaluation.models.running import failures

    say(failures(ROOT, RUN.models, PLAN.entries))


onsuccess:
    if workflow.is_main_process:
        announce_notes(PATHS)
        say_failures()


onerror:
    if workflow.is_main_process:
        say_failures()
