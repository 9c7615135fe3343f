"""Questions to Slurm that go unanswered for a while."""

from __future__ import annotations

import asyncio

from evaluation.workflow.slurm import patient


def test_unanswered_question_is_repeated():
    answers = iter([(None, None), (None, None), ({"7": "RUNNING"}, 0.1)])
    asked = []

    async def question(command, _logger):
        asked.append(command)
        return next(answers)

    command = "squeue --format='%i|%T' --name run"
    states, _ = asyncio.run(patient(question, 0)(command, None))
    assert states == {"7": "RUNNING"}
    assert asked == [command] * 3


def test_squeue_is_asked_where_sacct_has_no_answer():
    async def question(command, _logger):
        return ({"7": "COMPLETED"}, 0.1) if command.startswith("squeue") else (None, None)

    states, _ = asyncio.run(patient(question, 0)("sacct -X --name run-1", None))
    assert states == {"7": "COMPLETED"}


def test_empty_answer_is_an_answer():
    async def question(_command, _logger):
        return {}, 0.1

    assert asyncio.run(patient(question, 0)("squeue --name run", None)) == ({}, 0.1)


def test_executor_is_made_patient_once(monkeypatch):
    import snakemake_executor_plugin_slurm as executor

    from evaluation.workflow.slurm import ask_until_answered

    monkeypatch.setattr(executor, "query_job_status", executor.query_job_status)
    ask_until_answered()
    first = executor.query_job_status
    assert hasattr(first, "patient")
    ask_until_answered()
    assert executor.query_job_status is first
