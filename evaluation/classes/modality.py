"""How a scan was made; apart from `cases`, so that planning a run loads no image library."""

from __future__ import annotations

from typing import Literal

Modality = Literal["ct", "mri"]
