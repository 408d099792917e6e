"""The three training phases in a row, on a run folder: each loads what the one before left, and is done only once."""

from __future__ import annotations

from pathlib import Path

from gbad.data.bad_images import BadImages
from gbad.runtime.device import training_processes
from gbad.storage.files import remove_leftovers
from gbad.training.checks import check_parts
from gbad.training.phase1 import fit_phase1
from gbad.training.phase2 import fit_phase2
from gbad.training.phase3 import fit_phase3
from gbad.training.second_look import fit_second_look, shape_of_regions
from gbad.training.settings import Settings
from gbad.training.training_set import TrainingSet


def fit_phases(
    data: TrainingSet, settings: Settings, run: Path, bad: BadImages, *, last: int = 3, show_progress: bool = False
) -> bool:
    """Run the phases up to `last` that a run folder does not have yet.

    Parameters
    ----------
    data : TrainingSet
    settings : Settings
    run : Path
        The run folder.
    bad : BadImages
        Counts images that cannot be used.
    last : {1, 2, 3}
    show_progress : bool
        Show progress bars.

    Returns
    -------
    bool
        Whether this is the main process. Several processes share the training of the classifiers; the main one does all
        else.
    """
    check_parts(data.positive, data.validation, settings.gate_fit)
    is_main: bool = training_processes(settings.device).is_main_process
    if is_main:
        for folder in (run, *run.glob("phase?"), run / "second_look", *run.glob("second_look/*")):
            remove_leftovers(folder)
    fit_phase1(data, settings, run, bad, show_progress=show_progress)
    if is_main and last >= 2:
        extent = shape_of_regions(run, data, settings).extent if settings.second_look else None
        fit_phase2(data, settings, run, bad, peak_extent=extent, show_progress=show_progress)
    if last >= 2:
        fit_second_look(data, settings, run, bad, show_progress=show_progress)
    if is_main and last >= 3:
        fit_phase3(data, settings, run)
    return is_main
