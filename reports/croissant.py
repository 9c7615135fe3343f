"""Croissant metadata of an export: its files, what each column means, and what to take care of.

Croissant 1.0 with the responsible-AI vocabulary (docs.mlcommons.org/croissant). It describes
scores, not images: whose scans they come from is said by the entries' own licences and sources.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation import __version__
from evaluation.files.sums import sha256
from evaluation.files.writing import write_text
from evaluation.schema import TABLES, Table, scores_table
from reports.source.run import RunSource

CROISSANT_FILE = "croissant.json"
_PARQUET = "application/x-parquet"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def write_croissant(source: RunSource, folder: Path, made: str) -> Path:
    """Describe the Parquet files of an export folder.

    Args:
        source: the run.
        folder: of the export, whose tables are written.
        made: date and time of the tables, ISO 8601.
    """
    config = source.config
    known = TABLES | {"scores": scores_table(config.metrics)}
    files = [f for f in [folder / "scores.parquet", *sorted(folder.glob("tables/*.parquet"))]
             if f.is_file()]  # fmt: skip
    value = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": config.name,
        "description": f"Scores of 3D medical segmentation: {len(source.models)} models on "
        f"{len(source.dataset_cards)} entries of the study {source.study.title} "
        f"({config.data_kind} data), by case and class, and the tables made of them. No image "
        "and no mask.",
        "version": __version__,
        "datePublished": made,
        "license": "https://www.apache.org/licenses/LICENSE-2.0",
        **({"url": link} if (link := source.study.document.link) else {}),
        "creator": {"@type": "sc:Organization", "name": "who ran satbench"},
        "citeAs": " ".join(source.study.document.citation.split()),
        "keywords": ["medical image segmentation", "benchmark", "evaluation"],
        **_care(source),
        "distribution": [_file(folder, file) for file in files],
        "recordSet": [_records(folder, file, known[file.stem]) for file in files],
    }
    path = folder / CROISSANT_FILE
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    return path


def _care(source: RunSource) -> dict[str, Any]:
    """The responsible-AI fields: how the numbers came about, and what they cannot say."""
    config, cards = source.config, source.dataset_cards.values()
    sources = [f"{c.title}: {c.source.name}, {c.licence.name}" for c in cards]
    people = "virtual patients, of no person" if config.data_kind == "synthetic" else (
        "case and patient ids of public, de-identified datasets; no image, mask or name"
    )  # fmt: skip
    dominant = "The number of test scans differs between entries; means over entries and classes "
    return {
        "rai:dataCollection": "Predictions and reference masks were compared by satbench "
        f"{__version__}: metrics {', '.join(config.metrics)}, tolerances "
        f"{', '.join(f'{t:g} mm' for t in config.tolerance_mm)}, grids {', '.join(config.space)}.",
        "rai:dataCollectionType": ["Others"],
        "rai:dataCollectionRawData": "; ".join(sources),
        "rai:dataCollectionMissingData": "A missing or failed prediction is a row with its status "
        "and counts as the metric's record says; entries without data are in not_run.csv"
        + (f" ({', '.join(source.not_run)})." if source.not_run else "."),
        "rai:dataAnnotationProtocol": "References are the datasets' own masks, by whoever made "
        "them there; satbench changes none.",
        "rai:dataPreprocessingProtocol": [
            "Scans are turned to RAS; on the grid `native` no mask is resampled."
        ],
        "rai:dataUseCases": "Comparing segmentation models under one protocol, with intervals "
        "over patients. Not a proof of clinical use.",
        "rai:dataBiases": dominant + "are unweighted, and pooled ones go by the largest entries. "
        "Public datasets come from few centres and do not stand for all patients.",
        "rai:dataLimitations": "Intervals are over patients, not over trainings. What a model was "
        "trained on is as its card declares it.",
        "rai:dataSocialImpact": "A rank may be read as fitness for patients, which it does not "
        "show; each rank therefore has its interval and the number of patients.",
        "rai:personalSensitiveInformation": [people],
        "rai:dataReleaseMaintenancePlan": "Made anew with each report of the run; a version of "
        "what a score means is in run.json.",
    }


def _file(folder: Path, file: Path) -> dict[str, Any]:
    relative = file.relative_to(folder).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": relative,
        "name": file.name,
        "description": f"table {file.stem}",
        "contentUrl": relative,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": _PARQUET,
        "sha256": sha256(file),
    }


def _records(folder: Path, file: Path, table: Table) -> dict[str, Any]:
    there: Sequence[str] = pq.read_schema(file).names
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": f"One row: {table.row}",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{table.name}/{column.name}",
                "name": column.name,
                "description": column.description + (f" [{column.unit}]" if column.unit else ""),
                "dataType": _type(column.field.type),
                "source": {
                    "fileObject": {"@id": file.relative_to(folder).as_posix()},
                    "extract": {"column": column.name},
                },
            }
            for column in table.columns
            if column.name in there
        ],
    }


def _type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
