"""Runs inside nnU-Net's process, and no other module does: `python -m baselines.nnunet.entry`.

It prepares the ground (lock, death with the parent, whole checkpoints, trainer search) and then
calls nnU-Net as shipped.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from baselines.nnunet.reading import drop_damaged, load_only_values, load_only_weights

# nnU-Net's search for a trainer class imports this module, which needs timm and torchvision.
# Beside a CPU build of torch they cannot be imported, and then no trainer but the stock one is
# found. `None` makes Python treat the module as missing, which the search tolerates.
sys.modules["nnunetv2.training.nnUNetTrainer.primus.primus_trainers"] = None  # type: ignore[assignment]

Request = dict[str, Any]


def die_with_parent() -> None:
    """Ask Linux to kill this process, and processes forked from it, when the parent is gone."""
    if sys.platform != "linux":
        return
    set_death_signal = 1
    libc = ctypes.CDLL(None, use_errno=True)

    def arm() -> None:
        libc.prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)

    arm()
    os.register_at_fork(after_in_child=arm)
    from baselines.nnunet.process import PARENT

    if PARENT in os.environ and os.getppid() != int(os.environ[PARENT]):
        sys.exit("the process that asked for this work has gone")


def hold_lock(path: Path, wait_s: float) -> object:
    """Take the specialist's lock and keep it until this process ends, even as an orphan."""
    from filelock import FileLock, Timeout

    from baselines.nnunet.process import LOCKED

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        say_plain(f"{path} is held by another process; waited {wait_s:g} s")
        sys.exit(LOCKED)
    return lock


def say_plain(text: str) -> None:
    """Write one line to the log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def answer(**values: Any) -> None:
    """Send an answer to the parent."""
    from baselines.nnunet.process import MARK

    say_plain("\n" + MARK + json.dumps(values))


def save_whole_checkpoints() -> None:
    """Make `torch.save` to a path write a temporary file first and rename it.

    nnU-Net writes checkpoints in place; killed in the middle, it could not resume from one.
    """
    import torch

    from evaluation.files.writing import atomic_path

    plain: Callable[..., None] = torch.save

    def save(value: Any, target: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(target, str | os.PathLike):
            plain(value, target, *args, **kwargs)
            return
        # nnU-Net deletes some of them; what stays is noted when the training is done.
        with atomic_path(Path(target), noted=False) as temporary:
            plain(value, temporary, *args, **kwargs)

    torch.save = save  # type: ignore[assignment]


def pools_in_threads() -> None:
    """Let nnU-Net's process pools be threads of this process.

    A spawned worker imports torch and nnU-Net again, which on small datasets takes longer than
    the work.
    """
    import multiprocessing
    from multiprocessing.pool import ThreadPool

    class Threads:
        Pool = staticmethod(ThreadPool)

    def get_context(_method: str | None = None) -> type[Threads]:
        return Threads

    multiprocessing.get_context = get_context  # type: ignore[assignment]


def prepare(request: Request) -> None:
    """Fingerprint, nnU-Net's plan, our plan, and preprocessed training cases."""
    from pydantic import TypeAdapter

    from baselines.nnunet.config import NnunetPreset
    from baselines.nnunet.plans import (
        CONFIGURATION,
        PLANS_NAME,
        describe,
        differences,
        plan_to_train,
        spacing_faults,
    )
    from baselines.nnunet.preprocessing import clear_other_plan, keep_fingerprint, preprocess
    from evaluation.files.writing import write_json
    from evaluation.published.specialists import PinnedPlan

    preset = NnunetPreset.model_validate(request["preset"])
    if preset.workers == 1:
        pools_in_threads()
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
    )
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    number = request["number"]
    folder = Path(request["preprocessed"], request["dataset_name"])
    fingerprint = extract_fingerprint_dataset(
        number, num_processes=preset.workers, clean=not keep_fingerprint(folder), verbose=False
    )
    planned, _ = plan_experiment_dataset(number)
    pinned = TypeAdapter(PinnedPlan | None).validate_python(request["pinned"])
    plan = plan_to_train(planned, preset, pinned)
    clear_other_plan(folder, folder / f"{PLANS_NAME}.json", plan)
    write_json(folder / f"{PLANS_NAME}.json", plan)
    plans = PlansManager(plan)
    configuration = plans.get_configuration(CONFIGURATION)
    raw = Path(request["raw"], request["dataset_name"])
    preprocessor = configuration.preprocessor_class(verbose=False)
    found = preprocess(preprocessor, folder, raw, plans, configuration, preset.workers)
    if found != request["n_cases"]:
        sys.exit(f"nnU-Net preprocessed {found} of {request['n_cases']} cases")
    answer(
        plan=describe(plan),
        planned=describe(planned),
        differences=differences(planned, plan),
        notes=spacing_faults(plan, fingerprint["spacings"]),
    )


def train(request: Request) -> None:
    """Train every fold, continuing where a killed training stopped."""
    import torch

    device = torch.device(request["device"])
    torch.set_num_threads(request["threads"])
    save_whole_checkpoints()
    load_only_weights()
    load_only_values()
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    from baselines.nnunet.plans import CONFIGURATION, PLANS_NAME

    for fold in request["folds"]:
        trainer = get_trainer_from_args(
            request["dataset_name"],
            CONFIGURATION,
            fold,
            request["trainer"],
            PLANS_NAME,
            continue_training=True,
            device=device,
        )
        drop_damaged(Path(trainer.output_folder))
        try:
            maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
        except (LookupError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            why = " ".join(str(error).split())[:300]
            sys.exit(
                f"a checkpoint is not of this training, or holds more than weights ({why}): delete "
                f"checkpoint_*.pth in {trainer.output_folder}, and it starts anew"
            )
        if device.type == "cuda":
            torch.backends.cudnn.deterministic = False
            torch.backends.cudnn.benchmark = True
        first = trainer.current_epoch
        if first < trainer.num_epochs:
            # nnU-Net's validation afterwards is left out: with fold `all` it would predict
            # every training case, and the benchmark has test cases of its own.
            trainer.run_training()
        _write_beside(trainer)
        log = trainer.logger.get_checkpoint()
        spent = zip(log["epoch_start_timestamps"], log["epoch_end_timestamps"], strict=True)
        answer(
            fold=fold,
            epochs=trainer.num_epochs,
            epochs_now=trainer.num_epochs - first,
            iterations=trainer.num_epochs * trainer.num_iterations_per_epoch,
            seconds=sum(end - start for start, end in spent),
            train_loss=float(log["train_losses"][-1]),
            parameters=sum(p.numel() for p in trainer.network.parameters()),
        )


def _write_beside(trainer: Any) -> None:
    """Write what predictions read beside the weights; of a complete training it may be lost.

    nnU-Net writes the two files when a training begins, in the same way.
    """
    from batchgenerators.utilities.file_and_folder_operations import save_json

    folder = Path(trainer.output_folder_base)
    save_json(trainer.plans_manager.plans, folder / "plans.json", sort_keys=False)
    save_json(trainer.dataset_json, folder / "dataset.json", sort_keys=False)


def predict(request: Request) -> None:
    """Label each case with each specialist; a case that fails does not stop the others."""
    import time

    import numpy as np
    import torch

    from evaluation.files.writing import full_disk

    device = torch.device(request["device"])
    torch.set_num_threads(request["threads"])
    load_only_weights()
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictors = []
    for model in request["models"]:
        predictor = nnUNetPredictor(
            use_mirroring=model["mirroring"],
            perform_everything_on_device=device.type == "cuda",
            device=device,
            allow_tqdm=False,
        )
        predictor.initialize_from_trained_model_folder(
            model["folder"], use_folds=model["folds"], checkpoint_name="checkpoint_final.pth"
        )
        predictors.append((predictor, model))
    for case in request["cases"]:
        start = time.perf_counter()
        answer(started=case["case"])
        try:
            for index, (predictor, model) in enumerate(predictors):
                reader = predictor.plans_manager.image_reader_writer_class()
                image, properties = reader.read_images([case["image"]])
                if model["unit_spacing"]:
                    properties["spacing"] = [1.0, 1.0, 1.0]
                labels = predictor.predict_single_npy_array(image, properties)
                np.save(Path(case["output"]) / f"{index}.npy", labels.astype(np.uint8).T)
        except Exception as error:  # whatever happens is this case's status
            if full_disk(error, Path(case["output"]) / "probe") is not None:
                sys.exit(f"the disk of {case['output']} is full")
            answer(case=case["case"], error=f"{type(error).__name__}: {error}")
        else:
            answer(case=case["case"], seconds=time.perf_counter() - start)


def find_trainer(request: Request) -> None:
    """Look for a trainer class by name, as training and prediction do."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    found = recursive_find_trainer_class_by_name(request["trainer"])
    answer(trainer=found.__name__, module=found.__module__)


def main() -> None:
    """Run one command of a request file."""
    die_with_parent()
    command, path = sys.argv[1:3]
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    # The lock lives as long as this variable, that is until the process ends.
    lock = hold_lock(Path(request["lock"]), request["lock_wait_s"]) if "lock" in request else None
    commands: dict[str, Callable[[Request], None]] = {
        "prepare": prepare,
        "train": train,
        "predict": predict,
        "find-trainer": find_trainer,
    }
    commands[command](request)
    del lock


if __name__ == "__main__":  # nnU-Net's workers import this module again
    main()
