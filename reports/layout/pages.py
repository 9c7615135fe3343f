"""HTML pages from the package's own templates: no network, text escaped by default."""

from __future__ import annotations

import base64
import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(template_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def template_file(name: str) -> Path:
    """A file in the templates folder."""
    return Path(__file__).parents[1] / "templates" / name


def template_text(name: str) -> str:
    """Text of a file in the templates folder."""
    return template_file(name).read_text(encoding="utf-8")


def render(name: str, **values: Any) -> str:
    """A page from a template; values are escaped unless they are `markupsafe.Markup`."""
    return _environment().get_template(name).render(**values)


def embedded_json(value: Any) -> str:
    """JSON that can stand inside a script element: no `</`, no `<!--`, no line separators."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign, escape in (("<", "\\u003c"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):
        text = text.replace(sign, escape)
    return text


def packed_json(value: Any) -> str:
    """Compressed JSON as base64, which the browser's `DecompressionStream` reads (gzip)."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def unpacked_json(text: str) -> Any:
    """What `packed_json` made its text of."""
    return json.loads(gzip.decompress(base64.b64decode(text)))
