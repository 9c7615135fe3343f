"""A job that wants a GPU says so before it loads anything, where there is none."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.workflow import gpu


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libno-such-driver.so.1")


def test_without_a_driver_there_is_no_gpu(no_driver: None) -> None:
    with pytest.raises(BenchError, match=r"no NVIDIA driver .*libno-such-driver"):
        gpu.require_gpu()
    with pytest.raises(BenchError, match="needs 8 GPUs of this node"):
        gpu.require_gpu(8, torch=False)


def test_a_torch_for_cpus_is_recognised_without_loading_it() -> None:
    program = (
        "import sys\n"
        "from evaluation.workflow import gpu\n"
        "fault = gpu._build_fault()\n"
        "assert 'torch' not in sys.modules\n"
        "import torch\n"
        "assert (fault is None) == (torch.version.cuda is not None), fault\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_shard_for_a_gpu_is_not_begun_without_one(no_driver: None, tmp_path) -> None:
    where = ["--run", str(tmp_path), "--dataset", "acdc", "--shard", "0"]
    done = CliRunner().invoke(build(), ["predict", "--gpu", "--model", "nnunet", *where])
    assert isinstance(done.exception, BenchError)
    assert "needs a GPU" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_jobs_of_one_machine_keep_different_gpus(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "_kept", [])
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    jobs: list[dict[str, str]] = [{}, {}]
    for job in jobs:
        gpu.keep_one_gpu(job, tmp_path, tmp_path)
    assert [job["CUDA_VISIBLE_DEVICES"] for job in jobs] == ["0", "1"]
    with pytest.raises(BenchError, match="all GPUs of this machine are in use"):
        gpu.keep_one_gpu({}, tmp_path, tmp_path)
    gpu._kept.pop(0).release()
    freed = {"CUDA_VISIBLE_DEVICES": "1,0"}
    gpu.keep_one_gpu(freed, tmp_path, tmp_path)
    assert freed["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_choice_of_slurm_or_of_the_user_stays(tmp_path) -> None:
    for job in (
        {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "2,3"},
        {"CUDA_VISIBLE_DEVICES": "3"},
    ):
        kept = dict(job)
        gpu.keep_one_gpu(kept, tmp_path, tmp_path)
        assert kept == job
