"""The last epochs of a training are validated too, in the handlers that the configs declare."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.handlers import ValidationHandler

from scripts.errors import InputError
from scripts.handlers.training import FinalValidation


@pytest.mark.parametrize("overlays", [(), ("pretrain",)])
@pytest.mark.parametrize(("max_epochs", "validated"), [(3, [3]), (10, [5, 10]), (12, [5, 10, 12])])
def test_a_run_is_validated_at_intervals_and_after_its_last_epoch(
    root: Path, overlays: tuple[str, ...], max_epochs: int, validated: list[int]
) -> None:
    parser = ConfigParser()
    parser.read_config([str(root / "bundle" / "configs" / f"{name}.yaml") for name in ("train", *overlays)])
    parser.update({"max_epochs": max_epochs, "val_interval": 5})
    epochs: list[int] = []
    validator = SimpleNamespace(run=epochs.append)
    trainer = Engine(lambda engine, batch: None)
    for where, item in enumerate(parser["train#handlers"]):
        interval = f"train#handlers#{where}#interval"
        if item["_target_"].endswith("FinalValidation"):
            FinalValidation(validator, interval=parser.get_parsed_content(interval)).attach(trainer)
        elif item["_target_"] == "ValidationHandler":
            handler = ValidationHandler(interval=parser.get_parsed_content(interval))
            trainer.add_event_handler(
                Events.EPOCH_COMPLETED(every=handler.interval), lambda e: epochs.append(e.state.epoch)
            )
    trainer.run([0], max_epochs=max_epochs)
    assert epochs == validated


def test_a_run_that_is_ended_early_is_not_validated_again() -> None:
    epochs: list[int] = []
    trainer = Engine(lambda engine, batch: engine.terminate() if engine.state.iteration == 3 else None)
    FinalValidation(SimpleNamespace(run=epochs.append), interval=5).attach(trainer)
    trainer.run([0], max_epochs=7)
    assert epochs == []


def test_an_interval_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="`interval` must be at least 1, got 0"):
        FinalValidation(SimpleNamespace(run=print), interval=0)
