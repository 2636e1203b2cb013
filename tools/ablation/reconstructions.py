"""Make what the rows of an ablation need, each once: reconstructions, and statistics of healthy subjects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.networks.schedulers import Scheduler
from numpy.typing import NDArray
from tqdm import tqdm

from scripts.files import file_sha256
from scripts.inferers import PopulationFiles
from scripts.inferers.population_files import PopulationFile, read_population, save_population
from scripts.networks import ModalityWeights
from scripts.ops import PopulationFit, PopulationStatistics, population
from scripts.options import usable_device
from tools.ablation.cases import AblationCase, read_cases
from tools.ablation.settings import FIT_KEYS, POPULATION_KEYS, RECONSTRUCTION_KEYS, Setting, bundle_parser

__all__ = ["Cache", "Datalist", "PopulationMaker", "Reconstructor"]

logger = logging.getLogger(__name__)
Datalist = Callable[[str, int | None], list[dict[str, Any]]]  # the first so many training subjects of a data set
_NETWORK_KEYS = ("checkpoint", "network_config", "autocast_dtype")
_NETWORK_PARTS = ("network_def", "scheduler", "num_train_timesteps", "autocast_dtype")  # of the config, as written


def _kept(key: Any, make: Callable[[], Any]) -> Any:
    return make()


class Cache:
    """A folder of what was computed, by joblib: what is damaged is made again.

    Args:
        folder: made when something is kept.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @cached_property
    def _kept(self) -> Callable[[Any, Callable[[], Any]], Any]:
        return joblib.Memory(self.folder, mmap_mode="r", verbose=0).cache(_kept, ignore=["make"])

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what was made for a key of plain values, now or before."""
        return self._kept(key, make)


@dataclass(frozen=True, eq=False)
class _Network:
    module: torch.nn.Module
    scheduler: Scheduler
    about: Mapping[str, Any]
    populations: PopulationFiles


class Reconstructor:
    """Reconstruct cases with the settings' networks, and keep the samples.

    A sample depends on network, noise, seed, timestep and its own number alone, so that the first k of K samples serve
    every smaller k, and a mixture of timesteps takes its samples from those of the single timesteps.

    Args:
        cache: where they are kept, float32, inside the brain mask only: 11 MB for a brain on the 2 mm grid and K = 10.
        settings: all that will be asked for, to know how many samples to make at once.
        modality: t1 or t2, for the weights.
        overlays: config files over the bundle's own.
        device: where the network runs.
        memory_budget_mb: for the activations of one forward pass.

    Raises:
        InputError: if the device cannot be used, weights are missing or do not fit the network.
    """

    def __init__(
        self,
        cache: Cache,
        settings: Sequence[Setting],
        *,
        modality: str = "t1",
        overlays: Sequence[str] = (),
        device: str = "cpu",
        memory_budget_mb: float = 512.0,
    ) -> None:
        self.cache, self.modality, self.overlays = cache, modality, tuple(overlays)
        self.device, self.memory_budget_mb = usable_device(device), memory_budget_mb
        self._networks: dict[str, _Network] = {}
        self._counts: dict[str, int] = {}  # the most samples that are needed of each source
        for setting in settings:
            for step in setting.timesteps:
                key = joblib.hash(self.source(setting, step))
                self._counts[key] = max(self._counts.get(key, 0), setting.values["num_samples"])

    def _network(self, setting: Setting) -> _Network:
        chosen = {key: setting.values[key] for key in _NETWORK_KEYS}
        key = joblib.hash(chosen)
        if key not in self._networks:
            overlay = [chosen["network_config"]] if chosen["network_config"] else []
            parser = bundle_parser(*self.overlays, *overlay, autocast_dtype=chosen["autocast_dtype"])
            module = parser.get_parsed_content("network_def").to(self.device).eval()
            folder = parser.get_parsed_content("model_dir")
            weights = ModalityWeights(module, folder, checkpoint=chosen["checkpoint"]).use(self.modality)
            about = {"weights": weights["sha256"], **{part: parser[part] for part in _NETWORK_PARTS}}
            populations = PopulationFiles(folder)
            self._networks[key] = _Network(module, parser.get_parsed_content("scheduler"), about, populations)
        return self._networks[key]

    def source(self, setting: Setting, timestep: int | None = None) -> dict[str, Any]:
        """Return all that a setting's samples depend on, of one of its timesteps or of all."""
        noise = {key: setting.values[key] for key in RECONSTRUCTION_KEYS if key not in (*_NETWORK_KEYS, "num_samples")}
        used = setting.values["timestep"] if timestep is None else timestep
        return {**self._network(setting).about, **noise, "timestep": used}

    def population(self, setting: Setting, case: AblationCase) -> PopulationStatistics | None:
        """Return the population of a setting's network on the grid of a case, None where the setting has none."""
        if not setting.values["population"]:
            return None
        network = self._network(setting)
        slices, *plane = case.image.shape
        return network.populations.of(
            self.modality,
            weights_sha256=network.about["weights"],
            shape=(*plane, slices),
            num_components=setting.values["population_components"],
        )

    def samples(self, setting: Setting, case: AblationCase) -> torch.Tensor:
        """Return a setting's reconstructions of a case, [K, S, H, W], float32, zero outside the brain mask."""
        count, steps = setting.values["num_samples"], setting.timesteps
        volumes = torch.zeros(count, *case.image.shape)
        for place, step in enumerate(steps[:count]):
            own = slice(place, count, len(steps))
            volumes[own][:, case.brain_mask] = torch.from_numpy(np.array(self._stored(setting, step, case)[own]))
        return volumes

    def make_missing(self, setting: Setting, case: AblationCase) -> None:
        """Make what of a setting's reconstructions of a case is not kept yet."""
        for step in setting.timesteps:
            self._stored(setting, step, case)

    def _stored(self, setting: Setting, timestep: int, case: AblationCase) -> NDArray[np.float32]:
        source = self.source(setting, timestep)
        count = max(self._counts.get(joblib.hash(source), 0), setting.values["num_samples"])

        def make() -> NDArray[np.float32]:
            network = self._network(setting)
            single = Setting(setting.name, {**setting.values, "timestep": timestep, "num_samples": count})
            sampler = single.sampler(network.scheduler, memory_budget_mb=self.memory_budget_mb, progress=False)
            volumes = sampler(case.image.to(self.device), network.module, case.brain_mask.to(self.device))
            return volumes.cpu()[:, case.brain_mask].numpy()

        return self.cache.get({**source, "num_samples": count, "case": case.digest}, make)


class PopulationMaker:
    """Return the statistics that a setting uses, each measured once and kept.

    A setting with `population_datasets` has those of the training split of these sets; without, those of the file
    beside the weights.

    Args:
        reconstructor: of the reconstructions; its cache keeps the statistics too.
        parser: the bundle's config, whose `preprocessing` the training subjects go through.
        datalist: returns these.
        progress: show progress bars.
    """

    def __init__(
        self, reconstructor: Reconstructor, parser: ConfigParser, datalist: Datalist, *, progress: bool = True
    ) -> None:
        self.reconstructor, self.parser, self.datalist, self.progress = reconstructor, parser, datalist, progress
        self._fit: tuple[str, PopulationFit] | None = None  # the last one, for other settings of the same subjects
        self._last: tuple[str, PopulationStatistics] | None = None  # for the other cases of a setting

    def __call__(self, setting: Setting, case: AblationCase) -> PopulationStatistics | None:
        """Return the statistics of a setting on the grid of a case, None where it uses none."""
        if not setting.values["population"] or not setting.values["population_datasets"]:
            return self.reconstructor.population(setting, case)
        if self._last is None or self._last[0] != setting.identity:
            self._last = (setting.identity, self._measured(setting))
        return self._last[1]

    def _measured(self, setting: Setting) -> PopulationStatistics:
        values = setting.values
        subjects = {
            "source": self.reconstructor.source(setting),
            "num_samples": values["population_samples"],
            "subjects": [(item["case"], Path(item["image"]).stat().st_size) for item in self._items(setting)],
        }
        options = {key: values[key] for key in FIT_KEYS}
        key = joblib.hash([subjects, options, file_sha256(Path(population.__file__))])
        path = self.reconstructor.cache.folder / "populations" / f"{key}.pt"
        if not path.is_file():
            statistics = self._collected(setting, joblib.hash(subjects)).finish(
                smoothing_sigma=values["population_smoothing"],
                num_components=values["fitted_components"],
                component_sigma=values["component_smoothing"],
            )
            about = {key: values[key] for key in POPULATION_KEYS}
            save_population(path, PopulationFile(statistics, torch.eye(4, dtype=torch.float64), about))
        # from the file, in half precision, whether measured now or before
        return read_population(path).statistics.leading(values["population_components"])

    def _items(self, setting: Setting) -> list[dict[str, Any]]:
        limit = setting.values["population_limit"]
        return [item for name in setting.values["population_datasets"] for item in self.datalist(name, limit)]

    def _collected(self, setting: Setting, key: str) -> PopulationFit:
        if self._fit is None or self._fit[0] != key:
            fit = PopulationFit()
            fewer = Setting(setting.name, {**setting.values, "num_samples": setting.values["population_samples"]})
            bar = tqdm(self._items(setting), desc="measuring a population", unit="subject", disable=not self.progress)
            for case in read_cases(self.parser, bar, labelled=False):
                fit.add(case.image - self.reconstructor.samples(fewer, case).mean(dim=0), case.brain_mask)
            logger.info("population of %s: %d subjects", ", ".join(setting.values["population_datasets"]), fit.count)
            self._fit = (key, fit)
        return self._fit[1]
