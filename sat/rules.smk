"""SAT-Nano: one joint training on all entries of the run."""

from evaluation.datasets.registry import find_card
from evaluation.files.identity import digest, named_states
from evaluation.workflow.digests import scope_digest
from evaluation.datasets.sharding import n_test_shards
from sat.atlas.settings import CROP_SETTINGS
from sat.config import load_preset
from sat.training.store import FORMAT
from sat.knowledge.settings import RECORD_FILE, load_settings, text_folder

SAT = "sat-nano"
SAT_WORK = PATHS.model_run(SAT)

if SAT in CONFIGURED.models:
    SAT_PRESET = load_preset(RUN.presets.get(SAT))
    SAT_PROCESSES = SAT_PRESET.training.processes
    SAT_GPUS = SAT_PROCESSES if SAT_PRESET.training.device == "cuda" else 0
    SAT_THREADS = 8 if SAT_GPUS else 1
    # A process for each GPU that the job gets: fewer than the preset's (`gpu` in the profile, or
    # --resources gpu=N on one machine) take turns and learn the same.
    SAT_SPREAD = "{resources.gpu}" if SAT_GPUS else str(SAT_PROCESSES)
    TRAINED[SAT] = lambda dataset: [SAT_WORK / "checkpoint.pt"]
    PREDICTION_GPUS[SAT] = min(SAT_GPUS, 1)

    rule prepare_sat:
        """Training cases on SAT-Nano's own grid, read crop by crop later."""
        input:
            settings(
                "prepare",
                SAT,
                lambda: digest(
                    FORMAT,
                    SAT_PRESET.grid,
                    *(scope_digest(find_card(d), RUN) for d in PLAN.entries),
                ),
            ),
            [PATHS.split(dataset) for dataset in PLAN.entries],
        output:
            SAT_WORK / "prepared" / "index.json",
        log:
            PATHS.log_folder / "prepare" / f"{SAT}.log",
        benchmark:
            ROOT / "benchmarks" / "prepare" / f"{SAT}.tsv"
        priority: 20
        threads: 1
        resources:
            mem_mb=lambda w, attempt: 16000 * attempt,
            runtime=lambda w, attempt: 720 * attempt,
        shell:
            "{SATBENCH:q} sat prepare --run {ROOT} > {log} 2>&1"

    SAT_TEXT = []
    if SAT_PRESET.prompts.trains_text:
        TEXT_SETTINGS = load_settings(SAT_PRESET.prompts.knowledge)
        TEXT_GPUS = int(TEXT_SETTINGS.device == "cuda")
        SAT_TEXT = [text_folder(SAT_WORK) / RECORD_FILE]

        rule train_text:
            """Knowledge into the text encoder, before the segmentation sees its first scan."""
            input:
                settings(
                    "train",
                    f"{SAT}/text",
                    lambda: digest(
                        TEXT_SETTINGS, RUN.seed, named_states(TEXT_SETTINGS)
                    ),
                ),
            output:
                SAT_TEXT,
            log:
                PATHS.log_folder / "train" / SAT / "text.log",
            benchmark:
                ROOT / "benchmarks" / "train" / SAT / "text.tsv"
            priority: 20
            threads: 8 if TEXT_GPUS else 1
            resources:
                gpu=TEXT_GPUS,
                mem_mb=lambda w, attempt: 8000 * attempt,
                runtime=2880 if TEXT_GPUS else 120,
            params:
                preset=SAT_PRESET.prompts.knowledge,
                folder=text_folder(SAT_WORK),
                seed=RUN.seed,
            shell:
                "{SATBENCH:q} sat knowledge train --preset {params.preset:q} --out {params.folder:q} --overwrite "
                "--seed {params.seed} --threads {threads} > {log} 2>&1"

    SAT_START = []
    if SAT_PRESET.trains_atlas:
        SAT_START = [SAT_WORK / SAT_PRESET.training.initial_encoder]

        rule train_atlas:
            """Regions of the encoder against class texts; the training below starts from it."""
            input:
                settings(
                    "train",
                    f"{SAT}/atlas",
                    lambda: digest(
                        SAT_PRESET.atlas,
                        SAT_PRESET.network,
                        SAT_PRESET.prompts,
                        SAT_PRESET.training.model_dump(
                            mode="json", include=CROP_SETTINGS
                        ),
                        RUN.seed,
                        named_states(SAT_PRESET),
                    ),
                ),
                rules.prepare_sat.output,
                SAT_TEXT,
            output:
                SAT_START,
            log:
                PATHS.log_folder / "train" / SAT / "atlas.log",
            benchmark:
                ROOT / "benchmarks" / "train" / SAT / "atlas.tsv"
            priority: 20
            threads: 8 if SAT_GPUS else 1
            resources:
                gpu=min(SAT_GPUS, 1),
                mem_mb=lambda w, attempt: (64000 if SAT_GPUS else 4000) * attempt,
                runtime=2880 if SAT_GPUS else 120,
            shell:
                "{SATBENCH:q} sat atlas train --run {ROOT} --threads {threads} > {log} 2>&1"

    rule train_sat:
        """The longest single job, so it starts first; a killed training goes on by itself."""
        input:
            settings(
                "train",
                SAT,
                lambda: digest(SAT_PRESET, RUN.seed, named_states(SAT_PRESET)),
            ),
            rules.prepare_sat.output,
            SAT_TEXT,
            SAT_START,
        output:
            SAT_WORK / "checkpoint.pt",
        log:
            PATHS.log_folder / "train" / f"{SAT}.log",
        benchmark:
            ROOT / "benchmarks" / "train" / f"{SAT}.tsv"
        priority: 20
        threads: SAT_THREADS * SAT_PROCESSES
        resources:
            gpu=SAT_GPUS,
            nodes=1,
            # On GPUs: crops read ahead, by eight workers for each with two batches each.
            mem_mb=lambda w, attempt: (
                (max(64000, 32000 * SAT_GPUS) if SAT_GPUS else 4000 * SAT_PROCESSES)
                * attempt
            ),
            runtime=lambda w, attempt: 10080 if SAT_GPUS else 120,
        shell:
            "{SATBENCH:q} sat train --run {ROOT} --threads {SAT_THREADS} --nodes {resources.nodes}"
            " --processes " + SAT_SPREAD + " > {log} 2>&1"

    rule side_swaps:
        """How often left and right are exchanged in the predictions."""
        input:
            [PATHS.split(dataset) for dataset in PLAN.entries],
            [
                PATHS.prediction_shard(SAT, dataset, k)
                for dataset in PLAN.entries
                for k in range(n_test_shards(find_card(dataset), RUN))
            ],
        output:
            SAT_WORK / "side_swaps.csv",
        log:
            PATHS.log_folder / "side_swaps.log",
        resources:
            mem_mb=lambda w, attempt: 4000 * attempt,
            runtime=60,
        shell:
            "{SATBENCH:q} sat sides --run {ROOT} > {log} 2>&1"

    DIAGNOSTICS.append(SAT_WORK / "side_swaps.csv")
