"""The options of the bundle's configs, by config: the keys of each with their types, ranges, units and meanings.

Their defaults stand in the configs. An overlay has the options of what it lies over, and those that it adds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model
from scripts.options.choices import Alignment, BrainExtraction, PatchTarget, Region
from scripts.options.fields import (
    AutocastDtype,
    Device,
    Flag,
    GridSize,
    Name,
    Names,
    Number,
    Options,
    Paths,
    PathText,
    Seed,
    Shard,
    Text,
    Threshold,
    Whole,
    list_of,
    no_bool,
    none_or,
    option,
)
from scripts.options.map_options import MapOptions, SamplingOptions

__all__ = ["CONFIGS", "EvaluateOptions", "HostOptions", "InferenceOptions", "options_of"]

Modality = Literal["t1", "t2"]
_Count = Annotated[Whole, Field(ge=1, le=1_000_000)]
_Step = Annotated[Whole, Field(ge=0, le=999_999)]
_Series = Annotated[Whole, Field(ge=0, le=1_000_000)]
_Rate = Annotated[Number, Field(gt=0, lt=1)]
_Volume = Annotated[Number, Field(gt=0, le=10_000)]
_Address = Annotated[
    str,
    Field(pattern=r"^(tcp|tls|ucx|ws|wss)://[^\s/]+$"),
    WithJsonSchema({"must_be": "an address such as tcp://host:8786", "examples": ["tcp://host:8786"]}),
]
_WHAT, _BEFORE, _RUN, _DATA, _OUT = "what to run on", "before the network", "running", "data", "what is written"


class _Data(Options):
    """The folder of data sets, and which part of it."""

    dataset_dir: PathText = option("DATA_DIR; that of the environment or of .env by default", group=_DATA)
    fold: Whole = option("of the sets that have folds", group=_DATA, ge=0, le=999)


class _Limited(_Data):
    """Which of the cases."""

    limit: none_or(_Count) = option("the first so many cases of each set", group=_DATA)  # type: ignore[valid-type]


class _Seeded(Options):
    """The device and what it computes in."""

    device: Device = option("for brain extraction and the network; auto takes a GPU where there is one", group=_RUN)
    autocast_dtype: AutocastDtype = option(  # type: ignore[valid-type]
        "of convolutions under autocast; auto takes bfloat16 where the device computes in it, none is float32",
        group=_RUN,
    )
    bundle_root: PathText = option("folder with configs/ and models/", group=_RUN)


class _Grids(Options):
    """The working grid."""

    grid_size: GridSize = option("of the working grid", unit="voxels", group=_BEFORE)
    grid_spacing: Number = option("of the working grid", unit="mm", group=_BEFORE, gt=0, le=20)
    num_train_timesteps: Whole = option("diffusion steps of the network", group="the map", ge=1, le=1_000_000)


class _Raw(Options):
    """From a raw scan to the network's input."""

    input: Paths = option("a scan, a folder, a BIDS folder, a CSV of scans, or a list", group=_WHAT)
    brain_mask: none_or(Paths) = option("a mask for each input; one is made by default", group=_WHAT)  # type: ignore[valid-type]
    series: none_or(Text | _Series) = option(  # type: ignore[valid-type]
        "of a folder of DICOM: the number of the series, or a part of its description", group=_WHAT
    )
    brain_extraction: BrainExtraction = option("auto leaves scans alone that are already skull-stripped", group=_BEFORE)
    alignment: Alignment = option("to MNI152; auto leaves scans alone that lie on it", group=_BEFORE)
    bias_correction: Flag = option("correct the bias field with N4", group=_BEFORE)
    quality_control: Flag = option("check each scan before the network sees it", group=_BEFORE)
    overwrite: Flag = option("do again what has a result", group=_RUN)
    force: Flag = option("go on with scans that quality control refuses", group=_BEFORE)


class InferenceOptions(_Raw, _Seeded, _Grids, SamplingOptions, MapOptions):
    """Keys of inference.yaml."""

    modality: none_or(Modality) = option("of the scans; taken from each scan's name by default", group=_WHAT)  # type: ignore[valid-type]
    t1: none_or(Paths) = option(  # type: ignore[valid-type]
        "the T1-weighted scan of the same session for each T2-weighted one; its brain mask serves both", group=_WHAT
    )
    baseline: none_or(Paths) = option(  # type: ignore[valid-type]
        "an earlier scan of the same subject: the report and changes.csv say what changed since then", group=_WHAT
    )
    session_label: none_or(list_of(Text, least=0)) = option("BIDS: only these sessions", group=_WHAT)  # type: ignore[valid-type]
    bids_filter_file: none_or(PathText) = option(  # type: ignore[valid-type]
        "BIDS: JSON that chooses scans by their entities, as fMRIPrep has it", group=_WHAT
    )
    longitudinal: Flag = option("BIDS: compare the sessions of each subject with the first one", group=_WHAT)
    output_dir: PathText = option("a folder for each scan is made in it", group=_OUT)
    save: list_of(  # type: ignore[valid-type]
        Literal["anomaly_map", "lesion_mask", "mahalanobis_map", "reconstruction", "uncertainty", "brain_mask"], least=0
    ) = option("images to write", group=_OUT)
    picture: Flag = option("write panel.png", group=_OUT)
    report: Flag = option("write report.html", group=_OUT)
    dicom: Literal["auto"] | Flag = option(
        "DICOM segmentation and parametric map too; auto where the input is DICOM", group=_OUT
    )
    outputs: list_of(Name) = option("channels of the inferer", group=_OUT)  # type: ignore[valid-type]
    threshold: Threshold = option("of the anomaly map; voxels at or above it are lesion", group="lesions")
    min_volume_ml: Number = option(
        "smallest candidate region to keep", unit="ml of the scan's own voxels", group="lesions", ge=0, le=10_000
    )
    operating_point: none_or(Text) = option(  # type: ignore[valid-type]
        "which of the shipped thresholds: best_dice, healthy_fpr_0.01, …", group="lesions"
    )
    preset: Name = option("of the shipped thresholds", group="lesions")
    dataset_dir: PathText = option("DATA_DIR; that of the environment or of .env by default", group=_DATA)
    num_workers: Whole = option(
        "scans at a time, each in a process of its own with one thread; one takes 1 to 3 GB", group=_RUN, ge=0, le=1024
    )
    shard: none_or(Shard) = option(  # type: ignore[valid-type]
        "i/n: the i-th of n parts of the scans alone, for job arrays; the same without it then adds the tables",
        group=_RUN,
    )
    cluster: none_or(_Address) = option(  # type: ignore[valid-type]
        "address of a Dask scheduler whose workers do the scans; needs the package distributed", group=_RUN
    )
    checkpoint: none_or(PathText) = option("weights for all scans; the bundle's by default", group=_RUN)  # type: ignore[valid-type]
    model_dir: PathText = option("folder of the weights and thresholds", group=_RUN)


class HostOptions(Options):
    """What a reader changes in a host such as MONAI Label: the keys of `displayable_configs` in inference.yaml."""

    modality: Literal["auto", "t1", "t2"] = option("of the scan; auto: by its name", group=_WHAT)
    t1: none_or(Text) = option(  # type: ignore[valid-type]
        "name of the T1-weighted scan of the same session on the host, for a T2-weighted one", group=_WHAT
    )
    num_samples: Whole = option("K, reconstructions of each slice", group="the map", ge=2, le=10_000)
    threshold: Threshold = option("of the anomaly map; voxels at or above it are lesion", group="lesions")
    force: Flag = option("go on with scans that quality control refuses", group=_BEFORE)
    returns: Literal["lesion_mask", "anomaly_map"] = option("the volume that comes back", group=_OUT)


class EvaluateOptions(_Limited):
    """Keys that evaluate.yaml adds."""

    modality: Modality = option("of the scans", group=_DATA)
    datasets: Names = option("records in configs/datasets, or paths of records", group=_DATA)
    split: Literal["train", "val", "test"] = option("part of each set", group=_DATA)
    keep_published_splits: Flag = option("keep repeated rows", group=_DATA)
    log_dir: PathText = option("LOG_DIR; that of the environment or of .env by default", group=_OUT)
    thresholds: none_or(PathText) = option("thresholds.json of an earlier run or calibration", group=_DATA)  # type: ignore[valid-type]
    region: Region = option("which voxels count", group=_OUT)
    panels: Literal["all", "best_median_worst"] | Annotated[Whole, Field(ge=0, le=1_000_000)] = option(
        "which cases get a picture: all, the first so many, or best_median_worst", group=_OUT
    )
    lesion_bins_ml: list_of(_Volume) = option("volumes that part the lesions", unit="ml", group=_OUT)  # type: ignore[valid-type]
    num_bootstrap: Whole = option("rounds of the bootstrap", group=_OUT, ge=0, le=1_000_000)
    full_resolution: Flag = option("score on each scan's own grid", group=_OUT)


class ExperimentOptions(Options):
    """Keys that experiment.yaml adds."""

    train_datasets: Names = option("sets that the network was trained on", group=_DATA)


class CalibrateOptions(_Limited):
    """Keys that calibrate.yaml adds."""

    modality: Modality = option("of the scans", group=_DATA)
    healthy: list_of(Text, least=0) = option("healthy sets, validation scans", group=_DATA)  # type: ignore[valid-type]
    untrained: list_of(Text, least=0) = option("healthy sets of another scanner, all scans", group=_DATA)  # type: ignore[valid-type]
    lesion: list_of(Text, least=0) = option("lesion sets, validation scans", group=_DATA)  # type: ignore[valid-type]
    held_out: list_of(Text, least=0) = option("healthy sets, test scans that are only measured", group=_DATA)  # type: ignore[valid-type]
    lesion_dir: none_or(PathText) = option("DATA_DIR of the lesion sets", group=_DATA)  # type: ignore[valid-type]
    rates: list_of(_Rate) = option("false positive rates of healthy brain voxels", group=_OUT)  # type: ignore[valid-type]
    max_median_ml: Number = option(
        "what healthy_ml may mark in the median scan", unit="ml", group=_OUT, gt=0, le=10_000
    )
    max_p95_ml: Number = option(
        "what healthy_ml may mark at the 95th percentile", unit="ml", group=_OUT, gt=0, le=10_000
    )
    default_point: none_or(Text) = option("what inference uses", group=_OUT)  # type: ignore[valid-type]
    thresholds_file: PathText = option("receives the thresholds", group=_OUT)
    log_dir: PathText = option("LOG_DIR; that of the environment or of .env by default", group=_OUT)


class PopulationOptions(_Limited):
    """Keys that population.yaml adds."""

    modality: Modality = option("of the scans", group=_DATA)
    datasets: Names = option("healthy sets", group=_DATA)
    split: Literal["train", "val", "test"] = option("part of each set", group=_DATA)
    population_smoothing: Number = option("of the neighbourhood that is pooled", unit="voxels", ge=0, le=20)
    fitted_components: Whole = option("principal components to keep", ge=0, le=1000)
    component_smoothing: Number = option("before the components are found", unit="voxels", ge=0, le=20)
    population_dir: PathText = option("where the file goes", group=_OUT)


class TrainOptions(_Data, _Seeded, _Grids):
    """Keys of train.yaml."""

    modality: Modality = option("of the scans", group=_DATA)
    datasets: Names = option("records in configs/datasets, or paths of records", group=_DATA)
    t1_datasets: list_of(Text, least=0) = option("T1 sets that are given a T2-like contrast", group=_DATA)  # type: ignore[valid-type]
    repeat: Whole = option("times that each volume of `datasets` counts", ge=1, le=1000)
    seed: Seed = option("of weights, order, augmentation and noise")
    batch_size: Whole = option("slices a step", ge=1, le=100_000)
    slices_per_volume: Whole = option("random slices of each volume in an epoch", ge=1, le=10_000)
    max_epochs: Whole = option("of the training", ge=1, le=1_000_000)
    val_interval: Whole = option("epochs between validations", ge=1, le=1_000_000)
    val_slices: Whole = option("validation slices of each volume", ge=1, le=1024)
    val_timestep: Whole = option("of the validation", ge=0, le=999_999)
    patience: Whole = option("validations without improvement before stopping", ge=1, le=1_000_000)
    learning_rate: Number = option("of the optimizer", gt=0, le=10)
    weight_decay: Number = option("of the optimizer", ge=0, le=10)
    warmup_steps: Whole = option("of the learning rate", ge=0, le=10_000_000)
    max_gradient_norm: Annotated[float, BeforeValidator(no_bool), Field(gt=0)] = option("infinity for no clipping")
    ema_momentum: Number = option("share of the new weights in the moving average, per step", gt=0, le=1)
    ema_ramp: Flag = option("average over fewer steps at first")
    timestep_range: list_of(_Step, least=2, most=2) = option("steps that are learnt")  # type: ignore[valid-type]
    noise: Literal["simplex", "gaussian"] = option("its distribution")
    anomalies: Flag = option("set synthetic anomalies into what is noised")
    anomaly_weight: Number = option("how much more they count in the loss", ge=0, le=1000)
    activation_checkpointing: Flag = option("compute activations again in the backward pass: less memory")
    num_workers: Whole = option("processes that load", ge=0, le=256)
    resume: Flag = option("go on from checkpoint.pt")
    keep_published_splits: Flag = option("keep repeated rows")
    log_dir: PathText = option("LOG_DIR; that of the environment or of .env by default", group=_OUT)
    output_dir: PathText = option("of the weights and logs", group=_OUT)
    cache_dir: none_or(PathText) = option("keeps the volumes on the working grid", group=_RUN)  # type: ignore[valid-type]
    ckpt_dir: PathText = option("of the weights", group=_OUT)
    init_weights: none_or(PathText) = option("weights to start from")  # type: ignore[valid-type]
    encoder_path: none_or(PathText) = option("encoder.pt of pretrain.yaml")  # type: ignore[valid-type]


class PretrainOptions(Options):
    """Keys that pretrain.yaml adds."""

    mask_ratio: Number = option("share of the patches that is masked", gt=0, lt=1)
    loss_target: PatchTarget = option("what is reconstructed of a patch")
    decoder_width: none_or(Annotated[Whole, Field(ge=8, le=4096)]) = option("channels at its deepest level")  # type: ignore[valid-type]


class PreprocessOptions(_Raw):
    """Keys of preprocess.yaml."""

    dataset: Name = option("name of the set", group=_DATA)
    role: none_or(Literal["healthy", "lesion"]) = option("by default lesion where there are labels", group=_DATA)  # type: ignore[valid-type]
    modality: none_or(Modality) = option("both by default", group=_WHAT)  # type: ignore[valid-type]
    num_workers: Whole = option("cases at a time", ge=1, le=256, group=_RUN)
    cluster: none_or(_Address) = option(  # type: ignore[valid-type]
        "address of a Dask scheduler whose workers do the cases; needs the package distributed", group=_RUN
    )
    device: Device = option("for brain extraction; auto takes a GPU where there is one", group=_RUN)
    progress: Flag = option("show progress bars", group=_RUN)
    grid: Literal["1mm", "2mm"] = option("of the result", group=_OUT)
    interpolation: Literal["nearest", "bilinear"] | Annotated[Whole, Field(ge=0, le=5)] = option(
        "of images, or a spline order", group=_OUT
    )
    dataset_dir: PathText = option("DATA_DIR; that of the environment or of .env by default", group=_DATA)


CONFIGS: dict[str, type[Options]] = {
    "inference": InferenceOptions,
    "evaluate": EvaluateOptions,
    "experiment": ExperimentOptions,
    "calibrate": CalibrateOptions,
    "population": PopulationOptions,
    "train": TrainOptions,
    "pretrain": PretrainOptions,
    "preprocess": PreprocessOptions,
}


def options_of(configs: Iterable[str]) -> type[Options]:
    """Return all options of some configs, the later ones over the earlier.

    Args:
        configs: names in `CONFIGS`; others are left out.
    """
    fields: dict[str, Any] = {}
    for name in configs:
        model = CONFIGS.get(name)
        fields |= {key: (field.annotation, field) for key, field in (model.model_fields if model else {}).items()}
    return create_model("BundleOptions", __base__=Options, **fields)
