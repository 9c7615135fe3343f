"""Is there a GPU, and which? Asked by every job that wants one, in its first second."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections.abc import Mapping, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir

from filelock import FileLock, Timeout

from evaluation.errors import BenchError

DRIVER = "libcuda.so.1"
DEVICES = Path("/dev")
# Locks live as long as this process.
_kept: list[FileLock] = []


def require_gpu(count: int = 1, *, torch: bool = True) -> None:
    """Stop now rather than compute for days on a CPU.

    What needs no torch is asked first, since loading torch takes longer than a second on a busy
    node. A job of one GPU keeps one of those that are visible (`keep_one_gpu`).

    Args:
        count: GPUs of this node that the job uses.
        torch: the GPU is for torch in this process; otherwise a driver with a device is enough.

    Raises:
        BenchError: no GPU, or too few, or all in use.
    """
    if count == 1:  # before the driver starts, which reads the choice only once
        keep_one_gpu(os.environ, DEVICES)
    fault = _driver_fault(count) or (torch and (_build_fault() or _torch_fault(count)))
    if fault:
        raise BenchError(
            "this job needs a GPU, and there is none that it can use"
            if count == 1
            else f"this job needs {count} GPUs of this node, and cannot use them",
            found=fault,
            hint="ask the scheduler for one (slurm/README.md, GPUs), install a CUDA build of "
            "torch (`make setup TORCH=...`), or choose presets for a CPU"
            if count == 1
            else "fewer GPUs learn the same: `gpu` under `stages:` in the configuration, or "
            "`snakemake --resources gpu=1` on one machine (slurm/README.md, GPUs)",
        )


def keep_one_gpu(
    environment: MutableMapping[str, str], devices: Path, locks: Path | None = None
) -> None:
    """Leave one GPU visible to this process and its children, and keep it until the end.

    Slurm gives each job GPUs of its own. On one machine Snakemake counts them only, and every
    job would take the first.

    Args:
        environment: where `CUDA_VISIBLE_DEVICES` is read and set.
        devices: folder of the device files `nvidia0`, `nvidia1`, ...
        locks: folder of the locks; by default this machine's for temporary files.

    Raises:
        BenchError: other jobs keep all of them.
    """
    there = sorted(int(path.name[6:]) for path in devices.glob("nvidia[0-9]*"))
    given = environment.get("CUDA_VISIBLE_DEVICES")
    visible = given.split(",") if given else [str(number) for number in there]
    if "SLURM_JOB_ID" in environment or len(visible) < 2:
        return
    for device in visible:
        lock = FileLock((locks or Path(gettempdir())) / f"satbench-{os.getuid()}-gpu-{device}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _kept.append(lock)
        environment["CUDA_VISIBLE_DEVICES"] = device
        return
    raise BenchError(
        "all GPUs of this machine are in use",
        found=", ".join(visible),
        hint="write their number under `resources` in the profile (profiles/many-core)",
    )


def shown_gpus(environment: Mapping[str, str]) -> int:
    """GPUs that Slurm shows to this node of the job; 0 outside of Slurm.

    For a profile that asks by `gres` or `--gpus-per-node`, which the rule does not see.
    """
    shown = environment.get("CUDA_VISIBLE_DEVICES", "") if "SLURM_JOB_ID" in environment else ""
    return 0 if shown == "NoDevFiles" else len(re.findall(r"[^,\s]+", shown))


def _driver_fault(wanted: int) -> str | None:
    """Asked of the driver itself; None if it shows as many devices."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return f"no NVIDIA driver on this machine ({DRIVER} cannot be loaded)"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "the NVIDIA driver does not start"
    found = count.value
    return None if found >= wanted else f"the NVIDIA driver shows {found} device(s) to this process"


def _build_fault() -> str | None:
    """Whether torch was built without CUDA, read from its version file without loading it."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    version = Path(spec.origin).with_name("version.py")
    text = version.read_text(encoding="utf-8") if version.is_file() else ""
    if re.search(r"^cuda\b[^=]*= None$", text, re.MULTILINE):
        return "this torch is built for CPUs only"
    return None


def _torch_fault(wanted: int) -> str | None:
    if find_spec("torch") is None:
        return None
    # Loaded by name: this package must be importable without torch.
    torch = importlib.import_module("torch")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return None if found >= wanted else f"torch {torch.__version__} sees {found} CUDA device(s)"
