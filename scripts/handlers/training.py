"""What a training needs of Ignite: averaged weights, seeds by epoch, clipped gradients, checkpoints to resume from."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, EarlyStopping
from ignite.handlers.checkpoint import BaseSaveHandler
from monai.data import set_rnd
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.handlers import EarlyStopHandler
from scripts.data.folders import lock_folder
from scripts.errors import InputError
from scripts.files import replacing
from scripts.networks import read_checkpoint

__all__ = [
    "BestModelCheckpoint",
    "EmaRamp",
    "EpochSeed",
    "FinalValidation",
    "GradientClip",
    "ResumableEarlyStop",
    "TrainingCheckpoint",
]


class EmaRamp:
    """Let Ignite's `EMAHandler` average over few steps at first: share of the new weights max(momentum, 9/(10 + step)).

    With a fixed small share the average is mostly the random weights it began with for the first thousand steps. The
    share depends on the trainer's iteration alone, so a resumed run goes on with the one it stopped at.

    Args:
        momentum: share of the new weights, per step, that the ramp ends at.
        name: attribute of the trainer's state that `EMAHandler` reads.

    Raises:
        InputError: if `momentum` is not above 0 and below 1.

    References:
        TensorFlow's `ExponentialMovingAverage(num_updates)`: decay min(decay, (1 + n)/(10 + n)).

    Examples:
        >>> engine = Engine(lambda engine, batch: None)
        >>> EmaRamp(momentum=0.01).attach(engine)
        >>> engine.run(range(90)).ema_momentum
        0.09
    """

    def __init__(self, *, momentum: float, name: str = "ema_momentum") -> None:
        if not 0 < momentum < 1:
            raise InputError(f"`momentum` must be above 0 and below 1, got {momentum}.")
        self.momentum = momentum
        self.name = name

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, in any order with `EMAHandler`."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the share of the current step."""
        setattr(engine.state, self.name, max(self.momentum, 9 / (10 + engine.state.iteration)))


class EpochSeed:
    """Seed torch, numpy, Python and the random transforms of a dataset at the start of every epoch.

    The seed is made of the run's seed, the epoch and the process's rank. With it, the order of the data, the
    augmentation, the timesteps and the noise of an epoch do not depend on what was run before in the same process:
    an interrupted training that goes on from its last epoch gives the weights of an undisturbed one on the same
    machine. The workers of the data loader must not outlive the epoch (`persistent_workers=False`): they take their
    seeds from torch's when they start.

    Args:
        seed: of the run; None leaves all generators alone, and a resumed run differs from an undisturbed one.
        dataset: whose random transforms are seeded, for loaders without workers.

    Examples:
        >>> samples = []
        >>> for _ in range(2):
        ...     engine = Engine(lambda engine, batch: float(torch.rand(1)))
        ...     EpochSeed(7).attach(engine)
        ...     samples.append(engine.run([None]).output)
        >>> samples[0] == samples[1]
        True
    """

    def __init__(self, seed: int | None, *, dataset: Any = None) -> None:
        self.seed = seed
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer; before all other handlers that use random numbers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed all generators for the epoch that begins."""
        if self.seed is None:
            return
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        entropy = [abs(int(self.seed)), int(engine.state.epoch), rank]
        value = int(np.random.SeedSequence(entropy).generate_state(1, np.uint32)[0])
        torch.manual_seed(value)
        np.random.seed(value)
        random.seed(value)
        if self.dataset is not None:
            set_rnd(self.dataset, value)


class FinalValidation:
    """Validate after the last epoch where the interval of the `ValidationHandler` does not end on it.

    Without it the epochs at the lowest learning rate are never looked at, and their weights are lost. It stands beside
    the one `ValidationHandler` of a config, whose interval MONAI's bundle properties read.

    Args:
        validator: evaluator that is run; its epoch becomes the trainer's.
        interval: epochs between the validations of the `ValidationHandler`.

    Raises:
        InputError: if `interval` is below 1.
    """

    def __init__(self, validator: Evaluator, *, interval: int) -> None:
        if interval < 1:
            raise InputError(f"`interval` must be at least 1, got {interval}.")
        self.validator = validator
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, before what saves its state."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Validate, if this epoch is the last and was not validated."""
        epoch = engine.state.epoch
        if epoch == engine.state.max_epochs and epoch % self.interval:
            self.validator.run(epoch)


class GradientClip:
    """Clip the norm of a network's gradients after each backward pass, unscaled first where the trainer scales them.

    Args:
        network: whose gradients are clipped.
        max_norm: largest L2 norm over all parameters.

    Raises:
        InputError: if `max_norm` is not positive.
    """

    def __init__(self, network: torch.nn.Module, *, max_norm: float = 1.0) -> None:
        if max_norm <= 0:
            raise InputError(f"`max_norm` must be positive, got {max_norm}.")
        self.network = network
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip, and keep the norm before clipping in `engine.state.gradient_norm`."""
        trainer: Any = engine
        if getattr(trainer, "scaler", None) is not None:  # mixed precision: the loss was multiplied before the pass
            trainer.scaler.unscale_(trainer.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm)
        trainer.state.gradient_norm = float(norm)


logger = logging.getLogger(__name__)
_ADDED_LATER = ("early_stop",)  # what checkpoints of earlier versions do not hold


class _FixedNameSaver(BaseSaveHandler):
    """Save to one file name that stays the same: a temporary file, brought to the disk, then the change of name."""

    def __init__(self, dirname: str | Path, filename: str) -> None:
        self.path = Path(dirname) / filename
        self.written = False

    @idist.one_rank_only()
    def __call__(self, checkpoint: Mapping, filename: str, metadata: Mapping | None = None) -> None:
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)
        self.written = True

    @idist.one_rank_only()
    def remove(self, filename: str) -> None:
        """Keep the file: the next save replaces it."""


class TrainingCheckpoint:
    """Save the whole state of a training run after epochs, and go on from it.

    MONAI's `CheckpointSaver` writes in place, so that an interrupted write loses the run; this one goes through
    Ignite's `Checkpoint` and an atomic rename. The trainer itself is saved too, under `trainer`.

    Args:
        save_dir: folder for the file; made if absent.
        objects: name → object with `state_dict`, such as network, optimizer, scheduler, EMA.
        filename: name of the file.
        interval: epochs between saves.
        resume: load the file before the first epoch.

    Raises:
        InputError: if `interval` is below 1.
        InputError: on attaching, if `resume` is set and the file is missing, damaged, does not fit, or is from a later
            epoch than the last one of this run.

    Attributes:
        is_finished: after attaching, whether the run that is to be resumed has ended, at its last epoch or for lack of
            improvement: then nothing was loaded, and there is nothing to train.
    """

    is_finished = False

    def __init__(
        self,
        save_dir: str,
        objects: Mapping[str, Any],
        *,
        filename: str = "checkpoint.pt",
        interval: int = 1,
        resume: bool = False,
    ) -> None:
        if interval < 1:
            raise InputError(f"`interval` must be at least 1, got {interval}.")
        self.path = Path(save_dir) / filename
        self.objects = dict(objects)
        self.interval = interval
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, and keep other processes from training into the folder until this one has ended.

        Raises:
            InputError: if one does so already; else as the class says.
        """
        if idist.get_rank() == 0:
            self.lock = lock_folder(self.path.parent, "training")
        self.objects["trainer"] = engine
        saver = Checkpoint(self.objects, _FixedNameSaver(self.path.parent, self.path.name), n_saved=1)
        if self.resume:
            self.load(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval) | Events.COMPLETED, saver)

    def load(self, engine: Engine) -> None:
        """Bring all objects back to the saved state, keeping the number of epochs that the config asks for."""
        if not self.path.is_file():
            raise InputError(
                "there is no checkpoint to resume from",
                path=self.path,
                fix="Run without --resume, or give --output_dir.",
            )
        max_epochs, epoch_length = engine.state.max_epochs, engine.state.epoch_length
        content = read_checkpoint(self.path)
        try:
            saved_length = content["trainer"]["epoch_length"]
            finished = content["trainer"]["iteration"] // saved_length
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(
                "it does not hold the state of a training run", path=self.path, fix="Give the checkpoint.pt of one."
            ) from error
        if epoch_length is not None and epoch_length != saved_length:
            raise InputError(
                f"an epoch of it has {saved_length} batches and one of this run {epoch_length}",
                path=self.path,
                fix="Resume with the data and the batch size it was made with.",
            )
        if max_epochs is not None and finished > max_epochs:
            raise InputError(
                f"it is from epoch {finished} and `max_epochs` is {max_epochs}",
                path=self.path,
                fix="Give a larger --max_epochs to train on.",
            )
        early_stop = self.objects.get("early_stop")
        stopped = isinstance(early_stop, ResumableEarlyStop) and early_stop.has_stopped(content.get("early_stop", {}))
        self.is_finished = finished == max_epochs or stopped
        if self.is_finished:
            reported = "%s: this training has ended, after epoch %d. A larger --max_epochs%s would go on with it."
            logger.info(reported, self.path, finished, " or --patience" if stopped else "")
            return
        content["trainer"]["max_epochs"] = max_epochs
        absent = [name for name in _ADDED_LATER if name in self.objects and name not in content]
        if absent:
            logger.warning("%s is of an earlier version: %s begins anew.", self.path, ", ".join(absent))
        wanted = {name: item for name, item in self.objects.items() if name not in absent}
        try:
            Checkpoint.load_objects(to_load=wanted, checkpoint=content)
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"it does not fit this run ({' '.join(str(error).split())})",
                path=self.path,
                fix="Resume with the config it was made with.",
            ) from error
        logger.info("Resumed from %s after epoch %d.", self.path, finished)


class BestModelCheckpoint:
    """Keep the weights with the best key metric of an evaluator, and end the run if someone removes them meanwhile.

    Args:
        save_dir: folder for the file; made if absent.
        network: whose state dict is saved, plain, as inference loads it.
        filename: name of the file.
        lower_is_better: whether a smaller key metric is better.
    """

    def __init__(
        self, save_dir: str, network: torch.nn.Module, *, filename: str = "model.pt", lower_is_better: bool = False
    ) -> None:
        self.save_dir = save_dir
        self.network = network
        self.filename = filename
        self.sign = -1.0 if lower_is_better else 1.0

    def _score(self, engine: Engine) -> float:
        state: Any = engine.state
        score = self.sign * float(state.metrics[state.key_metric_name])
        return -math.inf if math.isnan(score) else score  # nothing compares as better than NaN

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        self.saver = _FixedNameSaver(self.save_dir, self.filename)
        self.checkpoint = Checkpoint(
            {"model": self.network}, self.saver, n_saved=1, score_function=self._score, score_name="key_metric"
        )
        engine.add_event_handler(Events.COMPLETED, self._check_there)
        engine.add_event_handler(Events.COMPLETED, self.checkpoint)

    def _check_there(self) -> None:
        if self.saver.written and not self.saver.path.is_file():
            what = "the best weights so far were removed while the training ran"
            raise InputError(what, path=self.saver.path, fix="Train again, and leave the folder alone until it ends.")

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, so that a resumed run does not overwrite a better model."""
        return {"saved": [list(item) for item in self.checkpoint.state_dict()["_saved"]]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the best score of an earlier run."""
        self.checkpoint.load_state_dict({"_saved": state["saved"]})


class ResumableEarlyStop(EarlyStopHandler):
    """MONAI's handler that stops a training without improvement, whose patience a checkpoint can keep.

    A state that is loaded before the trainer is known (`set_trainer`) is taken over with it.
    """

    _waiting: Mapping[str, Any] | None = None

    def set_trainer(self, trainer: Engine) -> None:
        """Set the trainer that is to be stopped."""
        super().set_trainer(trainer)
        if self._waiting is not None:
            self._inner.load_state_dict(self._waiting)
            self._waiting = None

    def state_dict(self) -> dict[str, Any]:
        """Return the best score and how many validations there were without a better one; empty before the first."""
        return {} if self._handler is None else dict(self._inner.state_dict())

    def has_stopped(self, state: Mapping[str, Any]) -> bool:
        """Return whether a training with this state was stopped for lack of improvement."""
        return int(state.get("counter", 0)) >= self.patience

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of an earlier run."""
        if not state:
            return
        if self._handler is None:
            self._waiting = dict(state)
        else:
            self._inner.load_state_dict(state)

    @property
    def _inner(self) -> EarlyStopping:
        handler: Any = self._handler
        return handler
