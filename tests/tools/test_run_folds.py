"""Running all folds: what is run, what is skipped, what a failure leaves, and the average. The commands are stand-ins;
tests/workflows/test_experiment.py runs the real ones."""

from __future__ import annotations

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from scripts.errors import InputError
from tools import run_folds as module
from tools.bundle_step import Step, StepError, bundle_command
from tools.run_folds import run_folds

STAND_IN = """
import json, pathlib, sys
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
folder, fold = pathlib.Path(options["--output_dir"]), int(options["--fold"])
print(sys.argv[1], "fold", fold, "resume", options.get("--resume"))
if options.get("--fail") == f"{sys.argv[1]} {fold}":
    (folder / "checkpoint.pt").touch()
    sys.exit("error: the disk of fold %d is full" % fold)
if sys.argv[1] == "training":
    (folder / "model.pt").write_text(options.get("--encoder_path", "") + str(fold))
    (folder / "encoder.pt").write_text(str(fold))
else:
    described = {"mean": (fold + 1) / 10, "std": 0.1, "n": 3}
    entry = {"pooled": {}, "metrics": {"auprc": described, "dice_at_validation_best_dice": described}}
    (folder / "test").mkdir(exist_ok=True)
    (folder / "test" / "summary.json").write_text(json.dumps({"data_sets": {"MSLUB": {"anomaly_map": entry}}}))
    (folder / "experiment.json").write_text(json.dumps({"datasets": ["MSLUB"]}))
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands that were asked for, in order; each one is the stand-in above."""
    script, asked = tmp_path / "stand_in.py", []
    script.write_text(STAND_IN)

    def command(configs, options, *, run_id=""):
        asked.append((run_id or "evaluation", list(configs), dict(options)))
        words = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
        return [sys.executable, str(script), run_id or "evaluation", *words]

    monkeypatch.setattr(module, "bundle_command", command)
    return asked


def logged(folder: Path) -> list[str]:
    return sorted(line for log in folder.rglob("*.log") for line in log.read_text().splitlines())


def test_folds_are_trained_evaluated_and_averaged(commands, tmp_path):
    run_folds(str(tmp_path / "out"), folds=[0, 1, 3], modality="t2", train_options={"max_epochs": 3})
    assert [(name, options["fold"]) for name, _, options in commands] == [
        (name, fold) for fold in (0, 1, 3) for name in ("training", "evaluation")
    ]
    assert commands[0][2]["max_epochs"] == 3
    assert "max_epochs" not in commands[1][2]
    assert commands[1][2]["checkpoint"] == tmp_path / "out" / "fold0" / "train" / "model.pt"
    with (tmp_path / "out" / "table.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    values = [0.1, 0.2, 0.4]
    assert float(row["MSLUB_auprc_mean"]) == pytest.approx(statistics.fmean(values))
    assert float(row["MSLUB_dice_std"]) == pytest.approx(statistics.stdev(values))
    assert row["MSLUB_auprc_n"] == "3"
    assert "over folds (0, 1, 3)" in (tmp_path / "out" / "table.tex").read_text()
    with (tmp_path / "out" / "folds.csv").open(newline="") as file:
        assert [line["fold"] for line in csv.DictReader(file)] == ["0", "1", "3"]


def test_finished_folds_are_skipped_and_failed_ones_go_on(commands, tmp_path, caplog):
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match=r"1 of 2 folds have no result: training of fold 1 failed \(status 1\): error: the disk of fold 1 is full \(.*fold1/train.log\)"):
        run_folds(out, folds=[0, 1], train_options={"fail": "training 1"})
    assert (tmp_path / "out" / "table.md").is_file(), "what is there is averaged"
    before = logged(tmp_path / "out")
    with pytest.raises(InputError, match="training of fold 1"):
        run_folds(out, folds=[0, 1], train_options={"fail": "training 1"})
    new = [line for line in logged(tmp_path / "out") if line not in before]
    assert new == ["training fold 1 resume true"], "fold 0 was not run again, fold 1 went on from its checkpoint"


def test_weights_that_changed_are_evaluated_again(commands, tmp_path):
    (tmp_path / "w0.pt").write_text("a")
    pattern, out = str(tmp_path / "w{fold}.pt"), tmp_path / "out"
    for content, runs in (("a", 1), ("a", 1), ("b", 2)):
        (tmp_path / "w0.pt").write_text(content)
        run_folds(str(out), folds=0, checkpoint=pattern)
        assert len(logged(out)) == runs
    assert all(name == "evaluation" for name, _, _ in commands), "nothing is trained"


def test_a_checkpoint_that_does_not_exist_is_an_error(commands, tmp_path):
    with pytest.raises(InputError, match=r"w1\.pt: the file of `checkpoint` does not exist\. Give the path"):
        run_folds(str(tmp_path / "out"), folds=1, checkpoint=str(tmp_path / "w{fold}.pt"))
    assert not commands


def test_another_command_does_not_mix_with_old_results(commands, tmp_path):
    out = str(tmp_path / "out")
    run_folds(out, folds=[0])
    with pytest.raises(InputError, match=r"fold0/train: it holds the result of another command.*give --overwrite true"):
        run_folds(out, folds=[0], train_options={"max_epochs": 9})
    run_folds(out, folds=[0], train_options={"max_epochs": 9}, overwrite=True)
    mark = json.loads((tmp_path / "out" / "fold0" / "train" / "finished.json").read_text())
    assert "--max_epochs 9" in mark["command"]
    assert str(tmp_path) not in mark["command"]


def test_only_the_same_training_with_the_same_encoder_goes_on(commands, tmp_path):
    out, encoder, log = tmp_path / "out", tmp_path / "encoder.pt", tmp_path / "out" / "fold0" / "train.log"
    options = {"folds": [0], "encoder_path": str(encoder)}
    encoder.write_text("a")
    with pytest.raises(InputError, match="no fold has an evaluation"):
        run_folds(str(out), **options, train_options={"fail": "training 0"})
    with pytest.raises(InputError, match="holds the result of another command"):
        run_folds(str(out), **options, train_options={"max_epochs": 9})
    encoder.write_text("b")
    with pytest.raises(InputError, match="no fold has an evaluation"):
        run_folds(str(out), **options, train_options={"fail": "training 0"})
    assert [line for line in log.read_text().splitlines() if "resume" in line] == ["training fold 0 resume None"] * 2


def test_the_reason_of_a_failure_is_that_of_the_last_run(tmp_path):
    words = [sys.executable, "-c", "import pathlib, sys; sys.exit('error: first' if not pathlib.Path('%s').exists() else 3)"]
    words[2] %= (tmp_path / "again")
    step = Step(name="training", command=words, folder=tmp_path / "train", product="model.pt")
    for reason in ("error: first", "no output"):
        with pytest.raises(StepError, match=reason):
            step.run()
        (tmp_path / "again").touch()


def test_a_pretrained_encoder_and_another_run_stand_in_one_table(commands, tmp_path):
    run_folds(str(tmp_path / "plain"), folds=[0, 1])
    (tmp_path / "encoder0.pt").touch()
    run_folds(
        str(tmp_path / "spark"), folds=[0], encoder_path=str(tmp_path / "encoder{fold}.pt"), paper=True,
        others={"plain": str(tmp_path / "plain")}, label="SparK",
    )  # fmt: skip
    assert commands[-2][2]["encoder_path"] == str(tmp_path / "encoder0.pt")
    assert (commands[-2][1], commands[-1][1][-1]) == (["train", "network_reference", "paper"], "paper_evaluate")
    text = (tmp_path / "spark" / "table.md").read_text()
    assert "plain: anomaly_map" in text
    assert "SparK: anomaly_map" in text


def test_encoders_are_pretrained_once_before_the_trainings(commands, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        run_folds(str(out), folds=[0, 1], pretrain=True, paper=True, train_datasets="A", pretrain_options={"max_epochs": 2})
    assert [Path(options["output_dir"]).name for _, _, options in commands[:3]] == ["pretrain", "train", "evaluate"]
    before, train = commands[0], commands[1]
    assert before[1] == ["train", "pretrain", "network_reference"]
    assert (before[2]["max_epochs"], before[2]["fold"], before[2]["datasets"]) == (2, 0, ["A"])
    assert train[2]["encoder_path"] == str(out / "fold0" / "pretrain" / "encoder.pt")
    assert "max_epochs" not in train[2]
    assert len(logged(out)) == 6, "the second time nothing ran"
    with pytest.raises(InputError, match="`pretrain` makes the encoders"):
        run_folds(str(out), folds=[0], pretrain=True, encoder_path="encoder.pt")


def test_wrong_folds_and_runs_are_refused(commands, tmp_path):
    with pytest.raises(InputError, match=r"`folds` must be numbers, got \['a'\]"):
        run_folds(str(tmp_path), folds=["a"])
    with pytest.raises(InputError, match="no fold has an evaluation"):
        run_folds(str(tmp_path / "x"), folds=[0], others={"old": str(tmp_path / "nowhere")})


def test_a_command_names_the_configs_of_the_bundle(root, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("learning_rate: 0.1\n")
    words = bundle_command(["train", "paper", str(own)], {"fold": 1, "skip": None}, run_id="training")
    assert words[1:6] == ["-m", "monai.bundle", "run", "training", "--config_file"]
    files = [Path(name) for name in words[6].strip("[]").replace("'", "").split(", ")]
    assert [path.name for path in files] == ["train.yaml", "paper.yaml", "own.yaml"]
    assert all(path.is_file() for path in files[:2])
    assert words[7:] == ["--fold", "1"]


@pytest.mark.parametrize(
    ("configs", "options", "message"),
    [
        (["train", "nowhere"], {}, r"there is no config 'nowhere'\. Give the path of a YAML file, or a name in"),
        (["train"], {"max_epochss": 3}, r"there is no option --max_epochss\. Did you mean --max_epochs\?"),
        (["train"], {"learning_rate": 0}, "`learning_rate` must be a number above 0"),
        (["inference", "evaluate"], {"datasets": ["$__import__('os')"]}, "`datasets` must be a value, .* an expression"),
    ],
)
def test_a_command_that_would_be_refused_is_not_started(configs, options, message):
    with pytest.raises(InputError, match=message):
        bundle_command(configs, options)


SLEEPER = """
import pathlib, sys, time
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
pathlib.Path(options["--output_dir"], "pid").write_text(str(__import__("os").getpid()))
time.sleep(120)
"""
PARENT = """
import sys
from tools import run_folds as module
from tools.bundle_step import end_on_signals
def command(configs, options, *, run_id=""):
    words = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
    return [sys.executable, sys.argv[1], run_id, *words]
module.bundle_command = command
end_on_signals()
module.run_folds(sys.argv[2], folds=[0])
"""


def _is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process when its parent was killed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, pytest.param(signal.SIGKILL, marks=on_linux)])
def test_a_signal_ends_the_training_too_and_meanwhile_no_other_run_writes_there(root, tmp_path, number):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    command = [sys.executable, "-c", PARENT, str(tmp_path / "sleeper.py"), str(tmp_path / "out")]
    restore = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    parent = subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.DEVNULL, preexec_fn=restore)
    reported = tmp_path / "out" / "fold0" / "train" / "pid"
    for _ in range(3000):
        if reported.is_file() and reported.read_text():
            break
        time.sleep(0.1)
    training = int(reported.read_text())
    with pytest.raises(InputError, match="another run over folds is writing there"):
        run_folds(str(tmp_path / "out"), folds=[0])
    parent.send_signal(number)
    assert parent.wait(timeout=60) != 0
    for _ in range(100 if number == signal.SIGKILL else 0):
        if not _is_alive(training):
            break
        time.sleep(0.1)
    assert not _is_alive(training)
