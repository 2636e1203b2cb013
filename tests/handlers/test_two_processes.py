"""Several processes that share the cases write what one process writes."""

from __future__ import annotations

import multiprocessing

import pytest
import torch.distributed as dist

from scripts.evaluation.scores import gathered

from .test_anomaly_evaluation import evaluate, phantom


def worker(rank, size, store, job):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    job(rank)
    dist.destroy_process_group()


def in_processes(size, tmp_path, job):
    """Call `job(rank)` in forked processes that form a group; all must end well."""
    context = multiprocessing.get_context("fork")
    arguments = (size, tmp_path / "store", job)
    processes = [context.Process(target=worker, args=(rank, *arguments)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(500)  # a busy machine needs minutes for what takes seconds
        process.kill()
    assert [process.exitcode for process in processes] == [0] * size


@pytest.fixture
def cases():
    lesions = [phantom(f"case{seed}", seed) for seed in range(3)]
    other = phantom("b", 7, dataset="WMH")
    return [*lesions, other, phantom("h", 9, dataset="IXI", lesion=False, label=False)]


@pytest.mark.parametrize("options", [{"panels": "best_median_worst"}])
def test_tables_thresholds_and_pictures_are_those_of_one_process(cases, tmp_path, options):
    evaluate(tmp_path / "one", cases, **options)
    # Three cases for the first process and two for the second.
    in_processes(2, tmp_path, lambda rank: evaluate(tmp_path / "two", cases[rank::2], **options))
    names = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert names == {path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*") if path.is_file()}
    assert len(names) >= 11
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_the_means_of_the_engine_are_those_of_all_cases(cases, tmp_path):
    expected = evaluate(tmp_path / "one", cases).state.metrics

    def job(rank):
        assert evaluate(tmp_path / "two", cases[rank::2]).state.metrics == expected

    in_processes(2, tmp_path, job)


def test_what_is_gathered_is_in_the_order_of_the_ranks(tmp_path):
    def job(rank):
        assert gathered({"rank": rank}) == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
        assert gathered(rank) == [0, 1, 2]

    in_processes(3, tmp_path, job)
    assert gathered("alone") == ["alone"]
