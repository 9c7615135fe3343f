"""Container recipes and profiles: well-formed, and in step with the lock and with `make setup`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "ENV", "USER", "CMD"}
LOCKED = "--require-hashes --no-deps"


def dockerfile() -> list[tuple[str, str]]:
    """Instructions with their arguments, continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [x for x in text.splitlines() if x.strip() and not x.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined]


def base_image() -> str:
    """What the image is built on unless the builder says otherwise."""
    name, text = dockerfile()[0]
    assert name == "ARG"
    return text.removeprefix("BASE=")


def definition() -> dict[str, str]:
    """Sections of the Apptainer recipe; the header is the section ``."""
    head, *parts = re.split(r"^%(\w+)\n", (ROOT / "satbench.def").read_text(), flags=re.MULTILINE)
    return {"": head, **dict(zip(parts[::2], parts[1::2], strict=True))}


def torch_of_make() -> str:
    found = re.search(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    return found.group(1)


def test_dockerfile_is_well_formed():
    steps = dockerfile()
    assert {name for name, _ in steps} <= INSTRUCTIONS
    assert steps[1] == ("FROM", "${BASE}"), "which a digest can replace"
    assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base_image()), "tag and digest"
    assert [name for name, _ in steps][-1] == "CMD"
    users = [text for name, text in steps if name == "USER"]
    assert users == ["1000"], "no program runs as root"
    for name, text in steps:
        if name == "COPY":
            assert "://" not in text
            for source in text.split()[:-1]:
                assert (ROOT / source).exists(), source
        assert text.count('"') % 2 == 0


@pytest.mark.parametrize("recipe", ["Dockerfile", "satbench.def"])
def test_recipe_installs_what_make_setup_installs(recipe):
    text = (ROOT / recipe).read_text()
    assert f"TORCH={torch_of_make()}" in text
    installs = re.findall(r"pip install (.*?)(?: \\| &&|\n)", text)
    options = [x.replace("--no-cache-dir ", "") for x in installs]
    assert "TORCH" in options[0]
    assert options[1:] == [
        f"{LOCKED} -r requirements-build.lock",
        f"{LOCKED} --no-build-isolation -r requirements.lock",
        "--no-deps --no-build-isolation --editable .",
    ]


def test_definition_has_its_sections():
    sections = definition()
    assert re.search(r"^Bootstrap: docker$", sections[""], re.MULTILINE)
    base = re.search(r"^From: (\S+)$", sections[""], re.MULTILINE)
    assert base is not None
    name, _, digest = base_image().partition("@")
    # Apptainer refuses a tag beside a digest.
    assert base.group(1) == f"{name.split(':')[0]}@{digest}", "both recipes start from one image"
    assert set(sections) == {"", "arguments", "files", "post", "environment", "runscript", "test"}


@pytest.mark.parametrize("section", ["post", "environment", "runscript", "test"])
def test_sections_of_the_definition_are_shell(section):
    subprocess.run(["sh", "-n"], input=definition()[section], text=True, check=True)


def test_torch_is_not_in_the_lock():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"^(torch|torchvision)==", lock, re.MULTILINE)
    assert "--hash=sha256:" in lock


def test_every_line_of_the_locks_is_one_version_with_a_hash():
    for name in ("requirements.lock", "requirements-build.lock"):
        text = re.sub(r"(?m)^ *#.*\n|^\n", "", (ROOT / name).read_text())
        entries = text.replace("\\\n", " ").splitlines()
        assert entries
        for entry in entries:
            assert re.fullmatch(r"[a-z0-9.,\[\]-]+==\S+( +--hash=sha256:[0-9a-f]{64})+ *", entry), (
                entry
            )


def test_gpu_rules_are_the_ones_that_the_profile_sends_to_gpus():
    profile = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text())
    text = "".join(path.read_text() for path in ROOT.glob("*/rules.smk"))
    rules = set(re.findall(r"^(?:use rule \w+ as|rule) (\w+_on_gpu)\b", text, re.MULTILINE))
    assert set(profile["set-resources"]) == rules == {"stage_on_gpu", "predict_on_gpu"}
    assert {v["slurm_partition"] for v in profile["set-resources"].values()} == {"gpu"}


def test_local_profile_of_a_large_machine_plans(clone):
    profile = ("--profile", "profiles/many-core")
    output = clone.run("-n", "--quiet", "rules", *profile, "--configfile", "config/smoke.yaml")
    assert re.search(r"^stage +6$", output, re.MULTILINE)


def test_make_asks_for_rules_that_the_workflow_has():
    asked = re.findall(r"--until (\S+)", (ROOT / "Makefile").read_text())
    files = [ROOT / "Snakefile", *(ROOT / "evaluation").rglob("*.smk")]
    text = "\n".join(file.read_text() for file in files)
    assert asked
    assert set(asked) <= set(re.findall(r"^rule (\w+):", text, re.MULTILINE))
