"""nnU-Net v2: one specialist for each entry, five for TotalSegmentator."""

from baselines.nnunet.config import load_preset as load_nnunet_preset
from baselines.nnunet.specialists import specialists_of
from evaluation.datasets.registry import find_card
from evaluation.files.identity import digest
from evaluation.workflow.digests import scope_digest

NNUNET = "nnunet"
NNUNET_WORK = PATHS.model_run(NNUNET)

if NNUNET in CONFIGURED.models:
    NNUNET_PRESET = load_nnunet_preset(RUN.presets.get(NNUNET))
    NNUNET_GPUS = int(NNUNET_PRESET.device == "cuda")
    SPECIALISTS = {
        specialist.id: dataset
        for dataset in PLAN.entries
        for specialist in specialists_of(find_card(dataset), RUN)
    }
    TRAINED[NNUNET] = lambda dataset: [
        NNUNET_WORK / specialist / "model.json"
        for specialist, entry in SPECIALISTS.items()
        if entry == dataset
    ]
    PREDICTION_GPUS[NNUNET] = NNUNET_GPUS

    rule prepare_specialist:
        """Fingerprint, plan and preprocessing in one process."""
        input:
            lambda w: settings(
                "prepare",
                f"{NNUNET}/{w.specialist}",
                lambda: digest(
                    NNUNET_PRESET,
                    scope_digest(find_card(SPECIALISTS[w.specialist]), RUN),
                ),
            ),
            lambda w: PATHS.split(SPECIALISTS[w.specialist]),
        output:
            NNUNET_WORK / "{specialist}" / "prepared.json",
        log:
            PATHS.log_folder / "prepare" / NNUNET / "{specialist}.log",
        benchmark:
            ROOT / "benchmarks" / "prepare" / NNUNET / "{specialist}.tsv"
        priority: 10
        threads: 1
        resources:
            mem_mb=lambda w, attempt: 16000 * attempt,
            runtime=lambda w, attempt: 720 * attempt,
        shell:
            "{SATBENCH:q} nnunet prepare --run {ROOT} --specialist {wildcards.specialist} > {log} 2>&1"

    # Only `model.json` is declared: Snakemake deletes declared outputs before a job starts, and
    # the checkpoints that a killed training goes on from must survive that.
    rule train_specialist:
        """A killed training goes on from its last epoch."""
        input:
            settings("train", NNUNET, lambda: digest(NNUNET_PRESET, RUN.seed)),
            rules.prepare_specialist.output,
        output:
            NNUNET_WORK / "{specialist}" / "model.json",
        log:
            PATHS.log_folder / "train" / NNUNET / "{specialist}.log",
        benchmark:
            ROOT / "benchmarks" / "train" / NNUNET / "{specialist}.tsv"
        priority: 10
        threads: 8 if NNUNET_GPUS else 1
        resources:
            gpu=NNUNET_GPUS,
            mem_mb=lambda w, attempt: (32000 if NNUNET_GPUS else 4000) * attempt,
            runtime=(4320 if NNUNET_GPUS else 120) * len(NNUNET_PRESET.folds),
        shell:
            "{SATBENCH:q} nnunet train --run {ROOT} --specialist {wildcards.specialist}"
            " --threads {threads} > {log} 2>&1"


# Multi-decoder residual U-Net: one joint training, as an example of a further model.
from baselines.universal.multi_decoder.config import MODEL as MULTI_DECODER
from baselines.universal.multi_decoder.config import load_preset as load_multi_decoder_preset

MULTI_DECODER_WORK = PATHS.model_run(MULTI_DECODER)

if MULTI_DECODER in CONFIGURED.models:
    MULTI_DECODER_PRESET = load_multi_decoder_preset(RUN.presets.get(MULTI_DECODER))
    MULTI_DECODER_GPUS = int(MULTI_DECODER_PRESET.device == "cuda")
    TRAINED[MULTI_DECODER] = lambda dataset: [MULTI_DECODER_WORK / "checkpoint.pt"]
    PREDICTION_GPUS[MULTI_DECODER] = MULTI_DECODER_GPUS

    rule prepare_multi_decoder:
        """Training cases on the network's own grid."""
        input:
            settings(
                "prepare",
                MULTI_DECODER,
                lambda: digest(
                    MULTI_DECODER_PRESET.grid,
                    *(scope_digest(find_card(d), RUN) for d in PLAN.entries),
                ),
            ),
            [PATHS.split(dataset) for dataset in PLAN.entries],
        output:
            MULTI_DECODER_WORK / "prepared" / "index.json",
        log:
            PATHS.log_folder / "prepare" / f"{MULTI_DECODER}.log",
        benchmark:
            ROOT / "benchmarks" / "prepare" / f"{MULTI_DECODER}.tsv"
        priority: 15
        threads: 1
        resources:
            mem_mb=lambda w, attempt: 16000 * attempt,
            runtime=lambda w, attempt: 720 * attempt,
        shell:
            "{SATBENCH:q} multi-decoder prepare --run {ROOT} > {log} 2>&1"

    # The resume point is not declared, so that it survives a killed job.
    rule train_multi_decoder:
        """A killed training goes on from its last resume point."""
        input:
            settings(
                "train", MULTI_DECODER, lambda: digest(MULTI_DECODER_PRESET, RUN.seed)
            ),
            rules.prepare_multi_decoder.output,
        output:
            MULTI_DECODER_WORK / "checkpoint.pt",
        log:
            PATHS.log_folder / "train" / f"{MULTI_DECODER}.log",
        benchmark:
            ROOT / "benchmarks" / "train" / f"{MULTI_DECODER}.tsv"
        priority: 15
        threads: 8 if MULTI_DECODER_GPUS else 1
        resources:
            gpu=MULTI_DECODER_GPUS,
            mem_mb=lambda w, attempt: (64000 if MULTI_DECODER_GPUS else 4000) * attempt,
            runtime=lambda w, attempt: 10080 if MULTI_DECODER_GPUS else 120,
        shell:
            "{SATBENCH:q} multi-decoder train --run {ROOT} --threads {threads} > {log} 2>&1"
