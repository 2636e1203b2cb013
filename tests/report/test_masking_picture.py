"""The picture of pretraining shows input, visible patches and what was reconstructed, and replaces the one before."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
import torch
from ignite.engine import Engine

from scripts.engines import MaskedPatchLoss
from scripts.handlers.reconstruction_picture import ReconstructionPicture, draw_reconstructed


def cells(path, columns):
    """The picture's three rows of cells, as grey values, without the labels on the left and the seams."""
    picture = matplotlib.image.imread(path)[..., 0]
    left = picture.shape[1] - columns * 160
    rows = np.array_split(picture, 3)
    return [[row[8:-8, left + 160 * c + 8 : left + 160 * (c + 1) - 8] for c in range(columns)] for row in rows]


def test_rows_are_input_visible_and_reconstructed_with_the_patients_right_on_the_left(tmp_path):
    image, masked, reconstructed = np.zeros((3, 2, 32, 32))
    image[:, 16:] = 1.0  # bright on the right-hand side of the array: RAS, the patient's right
    masked[1] = 1.0
    reconstructed[:] = image
    reconstructed[1] = 0.0
    draw_reconstructed(tmp_path / "a.png", image=image, masked=masked, reconstructed=reconstructed)
    seen = cells(tmp_path / "a.png", 2)
    width = seen[0][0].shape[1] // 2
    assert seen[0][0][:, : width - 8].min() > 0.9
    assert seen[0][0][:, width + 8 :].max() < 0.1
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    assert np.ptp(seen[1][1]) < 0.02, "a masked slice is one grey"
    assert 0.3 < seen[1][1].mean() < 0.6
    assert seen[2][1].max() < 0.1


def test_shapes_that_differ_are_refused(tmp_path):
    good = np.zeros((2, 8, 8))
    for shape in ((1, 8, 8), (2, 8), (0, 8, 8)):
        with pytest.raises(ValueError, match=r"must be slices \[N, H, W\] of one shape"):
            draw_reconstructed(tmp_path / "a.png", image=good, masked=np.zeros(shape), reconstructed=good)
    assert not list(tmp_path.iterdir())


def test_the_handler_draws_in_every_run_of_the_evaluator_from_its_first_batch(tmp_path):
    def step(engine, batch):
        label = torch.cat([torch.full((1, 64, 64), batch), torch.ones(1, 64, 64)])
        return [{"image": label[:1], "label": label, "pred": torch.zeros(1, 64, 64)} for _ in range(3)]

    evaluator = Engine(step)
    path = tmp_path / "out" / "reconstructed.png"
    ReconstructionPicture(path, MaskedPatchLoss(32, target="plain"), num_slices=5).attach(evaluator)
    for _ in range(2):
        path.unlink(missing_ok=True)
        evaluator.state.iteration = 0  # as MONAI's evaluator does
        evaluator.run([0.5, 0.9], max_epochs=1)
        evaluator.state.max_epochs = None
        assert [file.name for file in path.parent.iterdir()] == ["reconstructed.png"]
    with pytest.raises(ValueError, match="`num_slices` must be at least 1, got 0"):
        ReconstructionPicture(path, MaskedPatchLoss(32), num_slices=0)
