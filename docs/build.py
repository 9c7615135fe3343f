"""`make docs`: writes the generated pages and builds the site; a broken link ends it with an error.

python docs/build.py [CONFIGURATION]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import notebook
import pictures
import reference

ROOT = Path(__file__).resolve().parents[1]


def build(config: Path) -> int:
    """Write the generated pages into `docs/pages/reference` beside it, then build strictly.

    Returns:
        The builder's exit code: 1 where a page, an anchor or a file that is linked to is missing.
    """
    folder = config.parent / "docs/pages/reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in {**reference.pages(), "notebook.md": notebook.page()}.items():
        (folder / name).write_text(text, encoding="utf-8")
    pictures.draw(folder)
    shutil.copy(ROOT / "reports/pictures/demo_regions.png", folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(config)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "zensical.toml"))
