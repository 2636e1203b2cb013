"""A resumed run ends where an uninterrupted one does, and no interruption costs the file that was there."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, MeanAbsoluteError, ValidationHandler, from_engine
from monai.optimizers import WarmupCosineSchedule
from torch import nn

from scripts.errors import InputError
from scripts.handlers.training import BestModelCheckpoint, ResumableEarlyStop, TrainingCheckpoint
from scripts.networks import load_weights

BATCHES = 4


def make_loader():
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(BATCHES, 3, 6, generator=generator)
    return [{"image": image, "label": image.sum(1, keepdim=True)} for image in images]


def make_run(folder, max_epochs=6, *, resume=False, width=4, interval=1):
    """A run of a small network with all that train.yaml puts into a checkpoint."""
    torch.manual_seed(0)
    run = SimpleNamespace(network=nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 1)), epochs=[])
    run.optimizer = torch.optim.AdamW(run.network.parameters(), lr=0.05)
    run.schedule = WarmupCosineSchedule(run.optimizer, warmup_steps=3, t_total=6 * BATCHES)
    run.ema = EMAHandler(run.network, momentum=0.1)
    output = from_engine(["pred", "label"])
    run.best = BestModelCheckpoint(str(folder), run.ema.ema_model, lower_is_better=True)
    run.evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        make_loader(),
        run.ema.ema_model,
        key_val_metric={"error": MeanAbsoluteError(output_transform=output)},
        val_handlers=[run.best],
    )
    objects = {
        "network": run.network,
        "ema": run.ema.ema_model,
        "optimizer": run.optimizer,
        "lr_scheduler": run.schedule,
    }
    run.checkpoint = TrainingCheckpoint(str(folder), objects | {"best": run.best}, resume=resume, interval=interval)
    run.trainer = SupervisedTrainer(
        torch.device("cpu"),
        max_epochs,
        make_loader(),
        run.network,
        run.optimizer,
        nn.L1Loss(),
        train_handlers=[
            run.ema,
            LrScheduleHandler(run.schedule, print_lr=False, epoch_level=False),
            ValidationHandler(1, run.evaluator),
            run.checkpoint,
        ],
    )
    run.trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: run.epochs.append(engine.state.epoch))
    return run


def assert_same_state(first, second):
    """All tensors, numbers and lists of two state dicts are equal."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same_state(first[key], second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same_state(one, other)
    else:
        assert first == second


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = make_run(tmp_path / "whole")
    whole.trainer.run()
    make_run(tmp_path / "parts", 2).trainer.run()
    resumed = make_run(tmp_path / "parts", resume=True)
    resumed.trainer.run()
    assert whole.epochs == [1, 2, 3, 4, 5, 6]
    assert resumed.epochs == [3, 4, 5, 6]
    assert resumed.trainer.state.iteration == whole.trainer.state.iteration == 6 * BATCHES
    for name, item in whole.checkpoint.objects.items():
        if name != "trainer":
            assert_same_state(item.state_dict(), resumed.checkpoint.objects[name].state_dict())
    assert_same_state(*(torch.load(tmp_path / part / "model.pt") for part in ("whole", "parts")))


def test_a_run_that_broke_off_within_an_epoch_goes_on_from_the_last_whole_one(tmp_path):
    broken = make_run(tmp_path)

    @broken.trainer.on(Events.ITERATION_COMPLETED(once=3 * BATCHES + 2))
    def fail(engine):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.trainer.run()
    resumed = make_run(tmp_path, resume=True)
    assert resumed.trainer.state.epoch == 3
    assert resumed.trainer.state.iteration == 3 * BATCHES
    resumed.trainer.run()
    assert resumed.epochs == [4, 5, 6]
    whole = make_run(tmp_path / "whole")
    whole.trainer.run()
    assert_same_state(whole.network.state_dict(), resumed.network.state_dict())


@pytest.mark.parametrize(("interval", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5])])
def test_epochs_between_saves_and_the_last_one(tmp_path, interval, expected):
    run, saved = make_run(tmp_path, 5, interval=interval), set()

    @run.trainer.on(Events.EPOCH_STARTED | Events.COMPLETED)
    def look(engine):
        if (tmp_path / "checkpoint.pt").exists():
            content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
            saved.add(content["trainer"]["iteration"] // BATCHES)

    run.trainer.run()
    assert sorted(saved) == expected
    with pytest.raises(ValueError, match="`interval` must be at least 1, got 0"):
        TrainingCheckpoint(str(tmp_path), {}, interval=0)


def test_only_the_two_files_stay_and_others_may_read_them(tmp_path):
    make_run(tmp_path / "new" / "folder").trainer.run()
    files = sorted((tmp_path / "new" / "folder").iterdir())
    assert [file.name for file in files if file.name != ".lock"] == ["checkpoint.pt", "model.pt"]
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in files)


def test_an_interrupted_write_leaves_the_old_files(tmp_path, monkeypatch):
    make_run(tmp_path, 2).trainer.run()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    resumed = make_run(tmp_path, resume=True)

    def half_write(content, file, **kwargs):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half_write)
    with pytest.raises(OSError, match="disk full"):
        resumed.trainer.run()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def validate(run, offset):
    """Validate weights whose error is set by an offset, and return what `model.pt` then holds."""
    with torch.no_grad():
        for parameter in run.ema.ema_model.parameters():
            parameter.zero_()
        run.ema.ema_model[2].bias.fill_(offset)
    run.evaluator.run()
    return float(torch.load(run.checkpoint.path.parent / "model.pt", weights_only=True)["2.bias"])


def test_the_best_model_is_kept_also_over_a_resume(tmp_path):
    run = make_run(tmp_path)
    assert [validate(run, offset) for offset in (50.0, 20.0, 30.0)] == [50, 20, 20]
    run.trainer.state.epoch_length = BATCHES
    torch.save({name: item.state_dict() for name, item in run.checkpoint.objects.items()}, run.checkpoint.path)
    resumed = make_run(tmp_path, resume=True)
    assert [validate(resumed, offset) for offset in (40.0, 10.0, 15.0)] == [20, 10, 10]
    fresh = make_run(tmp_path)
    assert validate(fresh, 40.0) == 40


def test_higher_is_better_by_default_and_nan_is_worst(tmp_path):
    network = nn.Linear(1, 1)
    best = BestModelCheckpoint(str(tmp_path), network)
    evaluator = SupervisedEvaluator(
        torch.device("cpu"), [{"image": torch.zeros(1, 1), "label": torch.zeros(1, 1)}], network
    )
    best.attach(evaluator)
    evaluator.state.key_metric_name = "score"
    kept = []
    for score in (float("nan"), 0.2, 0.1, float("nan"), 0.3):
        nn.init.constant_(network.bias, score)
        evaluator.state.metrics["score"] = score
        evaluator.fire_event(Events.COMPLETED)
        kept.append(round(float(torch.load(tmp_path / "model.pt", weights_only=True)["bias"]), 3))
    assert kept[1:] == [0.2, 0.2, 0.2, 0.3]


def test_the_best_model_loads_strictly_as_inference_does(tmp_path):
    run = make_run(tmp_path)
    run.trainer.run()
    loaded = load_weights(copy.deepcopy(run.network), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert_same_state(dict(loaded.state_dict()), dict(state))


def test_nothing_to_resume_from_is_said(tmp_path):
    with pytest.raises(
        InputError, match=r"checkpoint\.pt: there is no checkpoint to resume from\. Run without --resume"
    ):
        make_run(tmp_path, resume=True)


def test_a_checkpoint_of_a_later_epoch_is_refused(tmp_path):
    make_run(tmp_path, 2).trainer.run()
    message = r"checkpoint\.pt: it is from epoch 2 and `max_epochs` is 1\. Give a larger --max_epochs"
    with pytest.raises(InputError, match=message):
        make_run(tmp_path, 1, resume=True)


def test_a_run_that_has_ended_says_that_there_is_nothing_left(tmp_path, caplog):
    caplog.set_level("INFO")
    assert not make_run(tmp_path, 2).checkpoint.is_finished
    make_run(tmp_path, 2).trainer.run()
    assert make_run(tmp_path, 2, resume=True).checkpoint.is_finished
    assert "this training has ended, after epoch 2. A larger --max_epochs would go on with it." in caplog.text
    assert not make_run(tmp_path, 3, resume=True).checkpoint.is_finished


def test_a_run_that_stopped_for_lack_of_improvement_has_ended_too(tmp_path):
    make_run(tmp_path, 2).trainer.run()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    early_stop = {"counter": 3, "best_score": -1.0, "threshold_mode": "abs"}
    torch.save({**state, "early_stop": early_stop}, tmp_path / "checkpoint.pt")
    for patience, is_finished in ((3, True), (4, False)):
        run = make_run(tmp_path, 6)
        run.checkpoint.objects["early_stop"] = ResumableEarlyStop(patience=patience, score_function=float)
        run.checkpoint.load(run.trainer)
        assert run.checkpoint.is_finished == is_finished


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    make_run(tmp_path, 2, width=8).trainer.run()
    with pytest.raises(
        InputError, match=r"checkpoint\.pt: it does not fit this run \(.*size mismatch.*Resume with the config"
    ):
        make_run(tmp_path, resume=True)


def test_a_checkpoint_of_another_epoch_length_is_refused(tmp_path):
    run = make_run(tmp_path, 2)
    run.trainer.run()
    resumed = make_run(tmp_path)
    resumed.trainer.state.epoch_length = 7
    message = rf"checkpoint\.pt: an epoch of it has {BATCHES} batches and one of this run 7\. Resume with the data"
    with pytest.raises(InputError, match=message):
        resumed.checkpoint.load(resumed.trainer)


def test_files_that_hold_no_run_are_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for content in (nn.Linear(2, 2).state_dict(), {"trainer": {}}, [1]):
        torch.save(content, path)
        with pytest.raises(InputError, match=r"checkpoint\.pt: it does not hold the state of a training run"):
            make_run(tmp_path, resume=True)
    path.write_bytes(b"half")
    with pytest.raises(InputError, match=r"checkpoint\.pt: it cannot be read as a weights-only torch checkpoint"):
        make_run(tmp_path, resume=True)
    torch.save({"trainer": {"iteration": 4, "epoch_length": 4, "max_epochs": 9}}, path)
    with pytest.raises(InputError, match=r"checkpoint\.pt: it does not fit this run \(.*network"):
        make_run(tmp_path, resume=True)


def test_a_run_whose_best_weights_are_removed_meanwhile_does_not_end_well(tmp_path):
    run = make_run(tmp_path, max_epochs=3)

    @run.trainer.on(Events.EPOCH_STARTED(once=2))
    def _remove():
        (tmp_path / "model.pt").unlink()

    with pytest.raises(InputError, match=r"model\.pt: the best weights so far were removed while the training ran\. Train"):
        run.trainer.run()
