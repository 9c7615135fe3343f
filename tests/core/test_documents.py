"""The documents: the site builds strictly, shown commands exist, and links lead somewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from evaluation.cli import build
from evaluation.schema import TABLES

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/pages").glob("*.md"))
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def build_site(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "docs/build.py"), str(folder / "zensical.toml")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The pages in a folder of their own, so that the clone stays as it is."""
    folder = tmp_path_factory.mktemp("site")
    ignored = shutil.ignore_patterns("reference")
    shutil.copytree(ROOT / "docs/pages", folder / "docs/pages", ignore=ignored)
    shutil.copy(ROOT / "zensical.toml", folder)
    return folder


def test_the_site_builds_without_a_broken_link_and_loads_nothing_from_elsewhere(sources):
    done = build_site(sources)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((sources / "build/docs").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        loaded = re.findall(
            r'<(?:script|img|iframe)[^>]*src="?(\w+://[^"> ]+)|<link[^>]*href="?(\w+://[^"> ]+)',
            page.read_text(encoding="utf-8"),
        )
        assert not loaded, f"{page.name}: {loaded}"
    reference = sources / "docs/pages/reference"
    headings = re.findall(r"^## (.+)$", (reference / "commands.md").read_text(), re.MULTILINE)
    assert {"satbench evaluate", "satbench data check", "satbench sat knowledge train"} <= {
        *headings
    }
    assert re.findall(r"^## (.+)$", (reference / "tables.md").read_text(), re.MULTILINE) == [
        table.name for table in TABLES.values()
    ]
    # The notebook was run: its last cell counts the prediction that is not there.
    assert re.search(r"spleen\s+3\b.*\b1$", (reference / "notebook.md").read_text(), re.MULTILINE)


def test_a_link_to_nowhere_ends_the_build(sources, tmp_path):
    shutil.copytree(sources, tmp_path / "site")
    with (tmp_path / "site/docs/pages/limits.md").open("a") as page:
        page.write("\n[gone](numbers.md#no-such-place)\n")
    done = build_site(tmp_path / "site")
    assert done.returncode != 0
    assert "anchor does not exist" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "results/README.md"])
def test_links_of_pages_outside_the_site_lead_to_files(name):
    links = [link for link in LINK.findall((ROOT / name).read_text()) if "://" not in link]
    lost = [link for link in links if not ((ROOT / name).parent / link).exists()]
    assert not lost


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_commands_that_a_page_shows_exist_with_their_options(page):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    shown = re.findall(r"^(?:PYTHONPATH=\. )?satbench ([^#\n]+)", text, re.MULTILINE)
    shown += re.findall(r"`satbench ([^`]+)`", text)
    for line in shown:
        command, words = get_command(build()), line.split()
        while words and hasattr(command, "commands") and re.fullmatch("[a-z-]+", words[0]):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        asked = {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)}
        assert asked <= known | {"--help"}, line
    targets = re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
    rules = (ROOT / "Makefile").read_text()
    assert all(f"{target}:" in rules or f" {target} " in rules for target in targets)


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "zensical.toml").read_text()
    assert all(f'"{page.name}"' in navigation for page in PAGES)
