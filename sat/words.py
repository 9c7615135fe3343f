"""What captions say of how a row's SAT-Nano was made: its knowledge, and what that stands for."""

from __future__ import annotations

from pathlib import Path

from evaluation.files.reading import mapping_of
from evaluation.files.records import PresetSource
from sat.config import Preset, load_preset
from sat.knowledge.settings import RECORD_FILE, KnowledgeSettings, text_folder

GENERAL = "MiniLM, a general-English encoder"
UNTUNED = {
    "minilm": f"untuned text of {GENERAL}",
    "class-id": "class ids in place of text",
    "folder": "text of an encoder of the user's, untuned",
    "knowledge": "text of an encoder that stage 1 made elsewhere",
}


def in_words(source: PresetSource, work: Path | None = None) -> str:
    """The knowledge of a preset, as a clause.

    Args:
        source: the preset.
        work: the model's folder in a run, whose stage 1 has written what it read.
    """
    preset = load_preset(source)
    return f"{_stage_1(preset, work)}; {_stage_2(preset)}"


def fallbacks(source: PresetSource) -> list[str]:
    """What stands in for the paper's knowledge where a preset asks for its stages."""
    preset, settings = load_preset(source), load_preset(source).prompts.knowledge
    found = []
    if preset.prompts.trains_text and isinstance(settings, KnowledgeSettings):
        if settings.sources.umls is None:
            found.append("stage 1 FALLS BACK to the open definitions, no UMLS is named")
        if settings.encoder == "minilm":
            found.append(f"stage 1 FALLS BACK to {GENERAL}, no biomedical encoder is named")
    if preset.trains_atlas and preset.atlas is not None and preset.atlas.volumes is None:
        found.append("stage 2 FALLS BACK to the run's own training scans, no atlas is named")
    return found


def _stage_1(preset: Preset, work: Path | None) -> str:
    settings = preset.prompts.knowledge
    if not (preset.prompts.trains_text and isinstance(settings, KnowledgeSettings)):
        return UNTUNED[preset.prompts.encoder]
    encoder = GENERAL if settings.encoder == "minilm" else f"the encoder {settings.encoder}"
    record = None if work is None else text_folder(work) / RECORD_FILE
    sources = mapping_of(record).get("sources") if record is not None else None
    if isinstance(sources, list):
        read = "; ".join(map(str, sources))
    else:
        own = settings.sources
        named = {
            "the open definitions": own.open_set, "definitions of the user's": own.definitions,
            "relations of the user's": own.relations, "UMLS": own.umls,
        }  # fmt: skip
        read = ", ".join(name for name, given in named.items() if given)
    instead = "" if settings.sources.umls else ", in place of UMLS"
    return f"stage 1 from {encoder} on {read}{instead}"


def _stage_2(preset: Preset) -> str:
    if not preset.trains_atlas or preset.atlas is None:
        return "no stage 2"
    if preset.atlas.volumes is None:
        return "stage 2 on the run's own training scans, in place of an atlas"
    return f"stage 2 on the atlas {preset.atlas.volumes}"
