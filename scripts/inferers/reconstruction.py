"""K reconstructions of a volume by a conditioned denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from monai.networks.schedulers import Scheduler
from scripts.errors import InputError, check_choice
from scripts.ops import NoiseKind, make_noise
from tqdm import tqdm

__all__ = ["ReconstructionSampler"]

_ACTIVATIONS = 24  # live feature maps of full size in one forward pass, counted in first-level widths
_DEFAULT_WIDTH = 64
_CPU_BUDGET_MB = 160.0  # more falls out of a processor's caches: 32 slices of the shipped network take 1.25 × as long


@dataclass(kw_only=True)
class ReconstructionSampler:
    """Noise each slice K times to a timestep and let the network predict the clean slice, one forward pass each.

    The samples depend on the seed alone: not on the batch size, the number of slices that hold brain, or the number of
    samples (the first five of ten are the five).

    Args:
        scheduler: adds the noise; its `num_train_timesteps` bounds `timestep`.
        num_samples: K, at least 2.
        timestep: diffusion step that the noise goes to; with several, sample k uses the (k modulo n)-th.
        noise: `simplex` or `gaussian`.
        shared_noise: one field for all slices of a sample (the reference), or one for each slice.
        seed: of the noise.
        memory_budget_mb: what the activations of one forward pass may take, MiB, by estimate; sets the batch size.
        progress: show a progress bar, on a terminal only.

    Raises:
        InputError: if `num_samples`, `timestep`, `noise` or `memory_budget_mb` is out of range.

    Examples:
        >>> from monai.networks.schedulers import DDPMScheduler
        >>> sampler = ReconstructionSampler(scheduler=DDPMScheduler(num_train_timesteps=1000), num_samples=4)
        >>> sampler.sample_noise(num_slices=3, shape=(8, 8)).shape  # one field for all slices
        torch.Size([4, 1, 8, 8])
    """

    scheduler: Scheduler
    num_samples: int = 10
    timestep: int | Sequence[int] = 500
    noise: NoiseKind | str = NoiseKind.SIMPLEX
    shared_noise: bool = True
    seed: int = 3141
    memory_budget_mb: float = 512.0
    progress: bool = True

    def __post_init__(self) -> None:
        if self.num_samples < 2:
            raise InputError(f"`num_samples` must be at least 2, got {self.num_samples}.")
        steps = [self.timestep] if isinstance(self.timestep, int) else list(self.timestep)
        last = self.scheduler.num_train_timesteps - 1
        if not steps or any(not isinstance(step, int) or not 0 <= step <= last for step in steps):
            raise InputError(f"`timestep` must be whole numbers from 0 to {last}, got {self.timestep}.")
        check_choice(NoiseKind, self.noise, "noise")
        if self.memory_budget_mb <= 0:
            raise InputError(f"`memory_budget_mb` must be positive, got {self.memory_budget_mb}.")
        self._steps = [steps[k % len(steps)] for k in range(self.num_samples)]

    def batch_size(self, network: torch.nn.Module, pixels: int, *, device: str = "cuda") -> int:
        """Return how many slices of `pixels` pixels go through `network` at once (an estimate from its first width)."""
        budget = min(self.memory_budget_mb, _CPU_BUDGET_MB) if device == "cpu" else self.memory_budget_mb
        widths = getattr(getattr(network, "unet", network), "block_out_channels", [_DEFAULT_WIDTH])
        return max(1, int(budget * 2**20 // (4 * pixels * widths[0] * _ACTIVATIONS)))

    def sample_noise(self, num_slices: int, shape: tuple[int, int]) -> torch.Tensor:
        """Return the noise [K, S or 1, H, W], float32; fields belong to positions in the volume."""
        return make_noise(self.noise, self.num_samples, num_slices, shape, self.seed, shared=self.shared_noise)

    @torch.no_grad()
    def __call__(self, volume: torch.Tensor, network: torch.nn.Module, brain_mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct the slices that hold brain.

        Args:
            volume: one volume [S, H, W] (axial slices first) in [0, 1].
            network: predicts x0 in [−1, 1]; called as `network(x, timesteps, context)`. If it has `encode`, that runs
                once for each slice and its features are the context; else the clean slice is.
            brain_mask: [S, H, W], bool.

        Returns:
            Reconstructions [K, S, H, W], float32, clipped to [0, 1] and 0 outside the mask.
        """
        num_slices, height, width = volume.shape
        device = volume.device
        slices = torch.nonzero(brain_mask.flatten(1).any(dim=1)).flatten()
        noise = self.sample_noise(num_slices, (height, width)).to(device)
        clean = (volume[slices] * 2 - 1)[:, None].float()
        size = self.batch_size(network, clean[0].numel(), device=device.type)
        encode = getattr(network, "encode", None)
        context = clean if encode is None else _encode(encode, clean, size)
        result = volume.new_zeros((self.num_samples, *volume.shape), dtype=torch.float32)
        jobs = torch.cartesian_prod(torch.arange(self.num_samples), torch.arange(len(slices))).to(device)
        steps = torch.tensor(self._steps, device=device)
        hidden = None if self.progress else True  # None: hidden where there is no terminal
        with tqdm(total=len(jobs), desc="reconstructing slices", unit="slice", disable=hidden) as bar:
            for part in _evenly(jobs, size):
                sample, item = part.unbind(1)
                place = slices[item]
                fields = noise[sample, place if noise.shape[1] > 1 else torch.zeros_like(place)][:, None]
                noisy = self.scheduler.add_noise(clean[item], fields, steps[sample])
                given = context[item] if context is not None else None
                reconstructed = network(noisy, steps[sample], given)
                result[sample, place] = ((reconstructed[:, 0].float() + 1) / 2).clamp(0, 1)
                bar.update(len(part))
        return result * brain_mask


def _encode(
    encode: Callable[[torch.Tensor], torch.Tensor | None], clean: torch.Tensor, size: int
) -> torch.Tensor | None:
    features = [vector for part in _evenly(clean, size) if (vector := encode(part)) is not None]
    return torch.cat(features) if features else None


def _evenly(jobs: torch.Tensor, size: int) -> tuple[torch.Tensor, ...]:
    """Split along the first axis into as few parts as `size` allows, all about as long.

    A last part of one slice would be convolved by another algorithm, and differ in the last bits.
    """
    return jobs.tensor_split(-(-len(jobs) // size))
