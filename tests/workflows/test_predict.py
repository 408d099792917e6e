from __future__ import annotations

import copy
import csv
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from gbad import DataError, GbadError, ImageError
from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths, read_image
from gbad.data.labels import SIXRAY_CLASSES, read_sixray
from gbad.errors import RunError, TooManyBadImagesError
from gbad.pipeline import GBADPipeline
from gbad.training.fitted import FittedGBAD
from gbad.workflows.evaluate import evaluate as evaluate_list
from gbad.workflows.predict import predict
from gbad.workflows.scores_csv import score_to_csv

COLUMNS = [
    "status", "reason", *SIXRAY_CLASSES, *(f"ungated_{name}" for name in SIXRAY_CLASSES), "reconstruction_loss",
    "feature_matching_loss", "gate_score", "anomalous", "any_threat", "looked_twice", "unfamiliarity",
]  # fmt: skip

OLDER = "path,status,reason\n"

DECIDED = ["alarm", "classes", "threat_probability", "boxes"]
PREDICTED = [*COLUMNS[:2], *DECIDED, *COLUMNS[2:]]


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")


def rewrite(data: Path, change: Callable[[pd.DataFrame], pd.DataFrame], part: str = "test") -> None:
    path = data / "ImageSet" / "10" / f"{part}.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots and report, which take seconds and have tests of their own."""
    monkeypatch.setattr("gbad.workflows.evaluate.save_plots", lambda *args, **options: None)
    monkeypatch.setattr("gbad.workflows.evaluate.report_on", lambda *args, **options: None)


def evaluate(pipeline: GBADPipeline, data: Path, out: Path, **options: Any) -> dict[str, Any]:
    return evaluate_list(pipeline, data, 10, out, **options)


def test_evaluation_leaves_what_is_promised(pipeline: GBADPipeline, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "evaluation"
    metrics = evaluate(pipeline, dataset, out, seconds={"phase1": 2.5})
    stored = json.loads((out / "metrics.json").read_text())
    assert {"metrics.json", "scores.csv", "report.html", "plots"} == set(os.listdir(out))
    assert (out / "report.html").read_text(encoding="utf-8").count("Scissors") > 1
    assert list((out / "plots").iterdir())

    test = read_sixray(dataset, 10, "test")
    assert stored["subset"] == "10"
    assert stored["classes"] == list(SIXRAY_CLASSES)
    assert stored["n_images"] == 36
    assert stored["n_positive"] == test.counts()
    assert stored["n_bad"] == 0
    assert stored["phase3"] == {
        "suppression": "hard", "strength": pipeline.fitted_.decision.strength, "heads_share": 0.0, "prevalence": None,
        "second_look": None,
        "thresholds": dict(zip(pipeline.classes_, pipeline.thresholds_, strict=True)),
    }  # fmt: skip
    assert set(stored["ungated"]) == set(stored["gbad"]) == {"map", "per_class_ap"}
    assert {"roc_auc", "pr_auc", "macro_precision", "macro_recall", "macro_f1"} <= set(stored["anomaly"])
    assert {"gbad", "python", "torch", "scikit-learn", "numpy"} <= set(stored["versions"])
    assert stored["seed"] == 1
    assert set(stored["seconds"]) == {"phase1", "evaluation"}
    assert stored["intervals"].keys() >= {"ungated", "gbad"}
    assert metrics["gbad"]["map"] == stored["gbad"]["map"]


@pytest.mark.usefixtures("no_report")
def test_scores_csv_has_all_values_in_the_order_of_the_list(
    pipeline: GBADPipeline, dataset: Path, tmp_path: Path
) -> None:
    metrics = evaluate(pipeline, dataset, tmp_path)
    table, test = read(tmp_path / "scores.csv"), read_sixray(dataset, 10, "test")
    assert list(table.columns) == ["name", *COLUMNS]
    assert tuple(table["name"]) == test.names
    assert set(table["status"]) == {"ok"}
    explained = pipeline.explain(image_paths(dataset, test.names))
    expected = np.column_stack([explained.gated, explained.ungated, explained.losses, explained.gate_score])
    np.testing.assert_array_equal(table[COLUMNS[2:-4]].to_numpy(np.float64), expected)
    np.testing.assert_array_equal(table["any_threat"].to_numpy(np.float64), explained.any_threat)
    np.testing.assert_array_equal(table["anomalous"], explained.anomalous.astype(int).astype(str))

    for method, prefix in (("ungated", "ungated_"), ("gbad", "")):
        reference = {
            name: average_precision_score(test.labels[:, c], table[prefix + name].to_numpy(np.float64))
            for c, name in enumerate(test.classes)
        }
        assert metrics[method]["per_class_ap"] == pytest.approx(reference, abs=1e-12)
        assert metrics[method]["map"] == pytest.approx(np.mean(list(reference.values())), abs=1e-12)
    roc = roc_auc_score(test.positive, table["gate_score"].to_numpy(np.float64))
    assert metrics["anomaly"]["roc_auc"] == pytest.approx(roc, abs=1e-12)
    ranked = average_precision_score(test.positive, table["any_threat"].to_numpy(np.float64))
    assert metrics["any_threat"]["pr_auc"] == pytest.approx(ranked, abs=1e-12)

    first = (tmp_path / "scores.csv").read_bytes()
    assert evaluate(pipeline, dataset, tmp_path)["gbad"] == metrics["gbad"]
    assert (tmp_path / "scores.csv").read_bytes() == first
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.usefixtures("no_report")
def test_a_class_without_positives_is_missing_not_zero(
    pipeline: GBADPipeline, own_dataset: Path, tmp_path: Path
) -> None:
    rewrite(own_dataset, lambda table: table.assign(Gun=-1, Pliers=-1))
    metrics = evaluate(pipeline, own_dataset, tmp_path / "out")
    text = (tmp_path / "out" / "metrics.json").read_text()
    stored = json.loads(text)
    assert "NaN" not in text
    for method in ("ungated", "gbad"):
        per_class = stored[method]["per_class_ap"]
        assert per_class["Gun"] is None
        assert per_class["Pliers"] is None
        assert math.isnan(metrics[method]["per_class_ap"]["Gun"])
        present = [per_class[name] for name in ("Knife", "Wrench", "Scissors")]
        assert stored[method]["map"] == pytest.approx(np.mean(present))
    assert stored["n_positive"]["Gun"] == 0


@pytest.mark.usefixtures("no_report")
def test_a_list_with_one_kind_of_image_has_no_figures(
    pipeline: GBADPipeline, own_dataset: Path, tmp_path: Path
) -> None:
    rewrite(own_dataset, lambda table: table.assign(**dict.fromkeys(SIXRAY_CLASSES, -1)))
    stored = evaluate(pipeline, own_dataset, tmp_path / "out")
    assert math.isnan(stored["gbad"]["map"])
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["gbad"]["map"] is None
    assert stored["anomaly"]["roc_auc"] is None
    assert len(read(tmp_path / "out" / "scores.csv")) == 36


@pytest.mark.usefixtures("no_report")
def test_the_list_may_name_the_classes_in_another_order(
    pipeline: GBADPipeline, dataset: Path, own_dataset: Path, tmp_path: Path
) -> None:
    expected = evaluate(pipeline, dataset, tmp_path / "expected")
    rewrite(own_dataset, lambda table: table[["name", *reversed(SIXRAY_CLASSES)]])
    found = evaluate(pipeline, own_dataset, tmp_path / "found")
    for key in ("classes", "n_positive", "gbad", "ungated", "anomaly"):
        assert found[key] == expected[key]
    assert (tmp_path / "found/scores.csv").read_bytes() == (tmp_path / "expected/scores.csv").read_bytes()


def test_a_list_of_other_classes_is_refused(pipeline: GBADPipeline, own_dataset: Path, tmp_path: Path) -> None:
    rewrite(own_dataset, lambda table: table.rename(columns={"Gun": "Hammer"}))
    with pytest.raises(DataError, match=r"Hammer.*trained on Gun, Knife"):
        evaluate(pipeline, own_dataset, tmp_path / "out")
    rewrite(own_dataset, lambda table: table.drop(columns="Knife"))
    with pytest.raises(DataError, match="the same classes"):
        evaluate(pipeline, own_dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_report")
def test_too_many_bad_test_images_stop_the_evaluation_and_few_are_listed(
    pipeline: GBADPipeline, own_dataset: Path, tmp_path: Path
) -> None:
    paths = image_paths(own_dataset, read_sixray(own_dataset, 10, "test").names)
    paths[3].write_bytes(b"")
    paths[7].unlink()
    out = tmp_path / "out"
    with pytest.raises(TooManyBadImagesError, match=r"1 of 36 images.*1\.0%.*bad_test_images\.csv.*raise max_bad"):
        evaluate(pipeline, own_dataset, out)
    assert set(os.listdir(out)) == {"bad_test_images.csv", "scores.csv.part", "scores.csv.part.json"}
    with pytest.raises(ImageError, match="empty"):
        evaluate(pipeline, own_dataset, out, strict=True)
    with pytest.raises(TooManyBadImagesError, match="2 of 12 images with threats cannot be used, more than the 6.0%"):
        evaluate(pipeline, own_dataset, out, max_bad=0.06)
    metrics = evaluate(pipeline, own_dataset, out, max_bad=0.5)
    assert metrics["n_bad"] == 2
    assert metrics["n_images"] == 34
    assert read(out / "bad_test_images.csv")["status"].tolist() == ["unreadable", "missing"]
    table = read(out / "scores.csv")
    assert len(table) == 36
    assert table["status"].tolist().count("ok") == 34
    assert table.loc[3].tolist()[1:] == ["unreadable", "the file is empty. Copy it again."] + [""] * 17
    assert table.loc[7, "status"] == "missing"
    assert set(table["anomalous"]) <= {"0", "1", ""}
    for path in (paths[3], paths[7]):
        shutil.copy(paths[0], path)
    assert evaluate(pipeline, own_dataset, out)["n_bad"] == 0
    assert not (out / "bad_test_images.csv").exists()
    for path in paths:
        path.unlink()
    with pytest.raises(DataError, match="none of the test images can be used"):
        evaluate(pipeline, own_dataset, out, max_bad=1.0)


def bad_images(folder: Path) -> dict[str, str]:
    """Write images that cannot be used; name and status."""
    whole = folder / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    content = whole.read_bytes()
    (folder / "truncated.png").write_bytes(content[: len(content) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no image")
    header = content[:16] + (20_000).to_bytes(4, "big") * 2 + content[24:]
    header = header[:29] + zlib.crc32(header[12:29]).to_bytes(4, "big") + header[33:]
    (folder / "huge.png").write_bytes(header)
    zero = content[:16] + (0).to_bytes(4, "big") * 2 + content[24:]
    zero = zero[:29] + zlib.crc32(zero[12:29]).to_bytes(4, "big") + zero[33:]
    (folder / "zero.png").write_bytes(zero)
    Image.new("CMYK", (64, 64)).save(folder / "cmyk.jpg")
    frames = [Image.new("L", (64, 64), shade) for shade in (0, 255)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    whole.unlink()
    return {
        "animated.gif": "unsupported", "cmyk.jpg": "unsupported", "empty.jpg": "unreadable", "huge.png": "too_large",
        "text.jpg": "unreadable", "truncated.png": "unreadable", "zero.png": "unreadable",
    }  # fmt: skip


def test_prediction_gives_a_row_for_each_input_in_its_order(
    pipeline: GBADPipeline, dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    bad = bad_images(folder)
    good = image_paths(dataset, read_sixray(dataset, 10, "test").names[:3])
    grey = folder / "sub" / "grey.png"
    Image.fromarray((np.arange(4096) // 16).astype(np.uint8).reshape(64, 64)).save(grey)
    (folder / "notes.txt").write_text("no image, and not asked for")
    inputs = [good[2], tmp_path / "missing.jpg", folder, good[0], good[2], folder / "notes.txt"]
    counts = predict(pipeline, inputs, tmp_path / "scores.csv")
    table = read(tmp_path / "scores.csv")
    assert list(table.columns) == ["path", *PREDICTED]
    expected = [good[2], tmp_path / "missing.jpg", *(folder / name for name in sorted(bad)), grey, good[0],
                good[2], folder / "notes.txt"]  # fmt: skip
    assert table["path"].tolist() == list(map(str, expected))
    statuses = ["ok", "missing", *(bad[name] for name in sorted(bad)), "ok", "ok", "ok", "unreadable"]
    assert table["status"].tolist() == statuses
    assert counts.images == len(table)
    assert counts.bad == len(bad) + 2
    usable = table[table["status"] == "ok"]
    assert counts.alarms == (usable["alarm"] == "1").sum()
    assert set(usable["alarm"]) <= {"0", "1"}
    assert set(usable["anomalous"]) <= {"0", "1"}
    assert (table[table["status"] != "ok"][PREDICTED[2:]] == "").all(axis=None)
    twice = usable.iloc[[0, 3]]  # BLAS may sum a row in another order where it stands elsewhere: the last digit differs
    np.testing.assert_allclose(*twice[COLUMNS[2:]].to_numpy(np.float64), rtol=1e-12)
    explained = pipeline.explain([good[2], grey, good[0]])
    np.testing.assert_allclose(usable.iloc[:3]["Gun"].to_numpy(np.float64), explained.gated[:, 0], rtol=1e-5)


def test_prediction_when_the_first_batches_are_all_bad(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path
) -> None:
    inputs = [tmp_path / f"{number}.jpg" for number in range(40)] + train_paths[:2]
    assert predict(pipeline, inputs, tmp_path / "scores.csv").bad == 40
    table = read(tmp_path / "scores.csv")
    assert list(table.columns) == ["path", *PREDICTED]
    assert table["status"].tolist() == ["missing"] * 40 + ["ok"] * 2
    finished = (tmp_path / "scores.csv").read_bytes()
    for _ in range(2):  # the second time it goes on
        counts = predict(pipeline, [inputs[0], inputs[0]], tmp_path / "scores.csv")
        assert (counts.images, counts.alarms, counts.bad) == (2, 0, 2)
        assert (tmp_path / "scores.csv").read_bytes() == finished
        rows = read(tmp_path / "scores.csv.part")
        assert list(rows.columns) == ["path", *PREDICTED]
        assert rows["reason"].str.startswith("no such file").all()
    counts = predict(pipeline, [inputs[0], inputs[0]], tmp_path / "new.csv")
    assert list(read(tmp_path / "new.csv").columns) == ["path", *PREDICTED]
    assert counts.lines == [f"{inputs[0]}  CANNOT BE USED  missing"] * 2


def test_prediction_stops_where_the_user_says_so(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path
) -> None:
    inputs = [*train_paths[:3], tmp_path / "missing.jpg"]
    (tmp_path / "scores.csv").write_text(OLDER)
    with pytest.raises(ImageError, match="no such file"):
        predict(pipeline, inputs, tmp_path / "scores.csv", strict=True)
    with pytest.raises(TooManyBadImagesError, match="1 of 4"):
        predict(pipeline, inputs, tmp_path / "scores.csv", max_bad=0.2)
    assert (tmp_path / "scores.csv").read_text() == OLDER


def test_file_names_that_are_no_text(pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path) -> None:
    names = [
        b'comma, quote".jpg', b"line\nbreak.jpg", b"carriage\rreturn.jpg", "ünï.jpg".encode(), b"latin-\xfc.jpg",
        b" blanks .jpg", b"both\r\n.jpg",
    ]  # fmt: skip
    folder = tmp_path / "odd"
    folder.mkdir()
    try:
        for name in names:
            shutil.copy(train_paths[0], os.path.join(os.fsencode(folder), name))
    except OSError:
        pytest.skip("the file system takes no such names")
    predict(pipeline, [folder], tmp_path / "scores.csv")
    table = read(tmp_path / "scores.csv")
    assert [os.fsencode(path) for path in table["path"]] == [
        os.fsencode(folder) + b"/" + name for name in sorted(names)
    ]
    assert set(table["status"]) == {"ok"}
    with (tmp_path / "scores.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == table["path"].tolist()


def test_rows_are_on_disk_while_scoring_goes_on(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path
) -> None:
    batches = score_to_csv(pipeline, train_paths, tmp_path / "scores.csv", BadImages(72))
    rows, _ = next(batches)
    assert len(read(tmp_path / "scores.csv.part")) == len(rows) < 72
    assert not (tmp_path / "scores.csv").exists()
    batches.close()  # type: ignore[attr-defined]
    assert len(list(score_to_csv(pipeline, train_paths, tmp_path / "scores.csv", BadImages(72)))) > 1
    assert len(read(tmp_path / "scores.csv")) == 72
    assert not (tmp_path / "scores.csv.part").exists()


class Scored:
    """Counts the images of each batch; Ctrl-C comes instead of one of the batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self.interrupted: int | None = None
        explain = FittedGBAD.explain

        def count(fitted: FittedGBAD, images: np.ndarray) -> Any:
            if len(self.batches) == self.interrupted:
                raise KeyboardInterrupt
            self.batches.append(len(images))
            return explain(fitted, images)

        monkeypatch.setattr(FittedGBAD, "explain", count)

    def interrupt(self, batch: int, pipeline: GBADPipeline, inputs: list[Path], out: Path) -> None:
        self.batches, self.interrupted = [], batch
        with pytest.raises(KeyboardInterrupt):
            predict(pipeline, inputs, out)
        self.batches, self.interrupted = [], None


def test_an_interrupted_prediction_goes_on_behind_its_whole_batches(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, part = tmp_path / "scores.csv", tmp_path / "scores.csv.part"
    inputs = [*train_paths[:5], tmp_path / 'comma, "quote"\nline.jpg', *train_paths[5:70]]
    counts = predict(pipeline, inputs, out)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    scored = Scored(monkeypatch)
    # The file breaks off: as the last flush left it; in a row; in a name; at zeros, which a power cut can leave.
    for spoil in (b"", lines[70][:90], b'"one, ', b"\0" * 4000):
        scored.interrupt(2, pipeline, inputs, out)
        assert part.read_bytes() == b"".join(lines[:66])  # header, 64 rows, of which one takes two lines
        with part.open("ab") as file:
            file.write(spoil)
        out.unlink(missing_ok=True)
        assert predict(pipeline, inputs, out) == counts
        assert scored.batches == [7]
        assert out.read_bytes() == whole
        assert os.listdir(tmp_path) == ["scores.csv"]
    scored.interrupt(2, pipeline, inputs, out)
    with pytest.raises(ImageError, match="no such file"):  # the image without scores counts as if it came now
        predict(pipeline, inputs, out, strict=True)
    with pytest.raises(TooManyBadImagesError, match="1 of 71"):
        predict(pipeline, inputs, out, max_bad=0.01)
    assert part.read_bytes() == b"".join(lines[:66])


def test_a_prediction_goes_on_with_nothing_but_the_same_images_and_pipeline(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, part = tmp_path / "out" / "scores.csv", tmp_path / "out" / "scores.csv.part"
    copied = [Path(shutil.copy(path, tmp_path)) for path in train_paths[:66]]
    other = copy.deepcopy(pipeline)
    decision = pipeline.fitted_.decision
    other.fitted_ = replace(pipeline.fitted_, decision=replace(decision, strength=decision.strength * 2))
    scored = Scored(monkeypatch)
    for number, (again, inputs, change) in enumerate(
        (
            (pipeline, copied[::-1], lambda: None),
            (pipeline, copied[:64], lambda: None),
            (other, copied, lambda: None),
            (pipeline, copied, lambda: os.utime(copied[0], (0, 0))),
            (pipeline, copied, lambda: Path(f"{part}.json").write_text("{")),
        ),
        start=1,
    ):
        scored.interrupt(1, pipeline, copied, out)
        first = part.read_bytes()
        change()
        predict(again, inputs, out)
        assert sum(scored.batches) == len(inputs)
        assert Path(f"{part}.{number}").read_bytes() == first
    assert len(os.listdir(out.parent)) == 6


def test_an_image_that_can_be_used_again_is_scored_again(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(pipeline, train_paths, tmp_path / "expected.csv")
    scored = Scored(monkeypatch)

    def lost(path: Path, *options: Any) -> np.ndarray:
        if path == train_paths[40]:
            raise ImageError(path, "unreadable", "the network drive is away")
        return read_image(path, *options)

    with monkeypatch.context() as patched:
        patched.setattr("gbad.data.source.read_picture", lost)
        scored.interrupt(2, pipeline, train_paths, tmp_path / "scores.csv")
    assert predict(pipeline, train_paths, tmp_path / "scores.csv").bad == 0
    assert scored.batches == [32, 8]
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


@pytest.mark.usefixtures("no_report")
def test_an_evaluation_leaves_other_files_of_its_folder_alone(
    pipeline: GBADPipeline, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ``--out RUN``: the run's list of bad training images stays, and so do scores that are not its own."""
    (tmp_path / "bad_images.csv").write_text("of the training")
    (tmp_path / "scores.csv.part").write_text("of another run")
    scored = Scored(monkeypatch)
    scored.interrupted = 1
    with pytest.raises(KeyboardInterrupt):
        evaluate(pipeline, dataset, tmp_path)
    scored.interrupted = None
    evaluate(pipeline, dataset, tmp_path)
    assert set(os.listdir(tmp_path)) == {"bad_images.csv", "scores.csv.part.1", "scores.csv", "metrics.json"}
    assert (tmp_path / "scores.csv.part.1").read_text() == "of another run"
    assert (tmp_path / "bad_images.csv").read_text() == "of the training"


def test_an_evaluation_does_not_go_among_the_images(pipeline: GBADPipeline, own_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(own_dataset)
    for out in (own_dataset, own_dataset / "evaluation", tmp_path / "link" / "evaluation"):
        with pytest.raises(GbadError, match=r"results cannot go there.*apart from the data"):
            evaluate(pipeline, own_dataset, out)
    assert not (own_dataset / "evaluation").exists()


def test_a_folder_as_csv_is_refused_before_anything_is_scored(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GBADPipeline, "stream", lambda *args: pytest.fail("scoring began"))
    with pytest.raises(GbadError, match=r"cannot be written, it is a folder\. Give the path of a file"):
        predict(pipeline, train_paths, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_no_list_of_scores_is_not_replaced(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path
) -> None:
    folder, precious = tmp_path / "in", tmp_path / "in" / "list.csv"
    folder.mkdir()
    shutil.copy(train_paths[0], folder / "x.jpg")
    precious.write_text("name,Gun\nx,1\n")
    with pytest.raises(GbadError, match=r"list\.csv: will not be replaced, since it is no list of scores of gbad"):
        predict(pipeline, [folder], precious)
    assert precious.read_text() == "name,Gun\nx,1\n"
    precious.write_text("")  # nothing to lose
    predict(pipeline, [folder], precious)
    predict(pipeline, [folder], precious)
    assert precious.read_text().startswith("path,status,reason")


def test_a_picture_does_not_replace_an_image_of_the_input(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    image = Path(shutil.copy(train_paths[0], pictures / f"000000-{train_paths[0].stem}.jpg"))
    link = tmp_path / "link.jpg"
    link.symlink_to(image)
    content = image.read_bytes()
    with pytest.raises(GbadError, match=r"000000-.*: will not be replaced, since it is an input"):
        predict(pipeline, [train_paths[0], link], tmp_path / "scores.csv", pictures=pictures, all_pictures=True)
    assert image.read_bytes() == content
    predict(pipeline, [train_paths[0]], tmp_path / "scores.csv", pictures=pictures, all_pictures=True)
    assert image.read_bytes() != content  # an older picture, by all that is known


def test_pictures_do_not_become_inputs(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input may reach the folder of pictures through a folder, a pattern or an image; it is told before a score."""
    bags = tmp_path / "bags"
    (bags / "monday").mkdir(parents=True)
    image = Path(shutil.copy(train_paths[0], bags / "monday" / "bag.jpg"))
    (tmp_path / "link").symlink_to(bags)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "scores.csv"
    predict(pipeline, ["bags/*/*.jpg"], out, pictures="pictures", all_pictures=True)
    predict(pipeline, ["bags/mon*"], out, pictures=bags / "pictures", all_pictures=True)
    predict(pipeline, ["bags/*/b*.jpg"], out, pictures=bags / "seen", all_pictures=True)  # no picture's name has a b
    (picture,) = (bags / "pictures").iterdir()
    shutil.rmtree(bags / "pictures")
    shutil.rmtree(bags / "seen")

    with monkeypatch.context() as patched:
        patched.setattr(GBADPipeline, "stream", lambda *args: pytest.fail("scoring began"))
        for inputs, folder in (
            ([bags], bags),
            ([bags], bags / "a" / "b"),
            (["link"], bags / "out"),
            ([bags], tmp_path / "link" / "out"),
            (["bags/*/*.jpg"], bags / "out"),
            (["bags/**/*.jpg"], bags / "out" / "deep"),
            (["link/*/*.jpg"], bags / "out"),
            (["*/*/00*.jpg"], bags / "out"),
            (["*.jpg", image], Path()),
            (["bags/*"], bags / "out"),
            (["bags/**"], bags / "out"),
            ([image], bags / "monday"),  # as where the shell has replaced the pattern
        ):
            reached = next(one for one in map(str, inputs))
            with pytest.raises(GbadError) as refused:
                predict(pipeline, inputs, out, pictures=folder)
            message = str(refused.value)
            assert f"{folder}: no folder for pictures, since {reached} reaches it" in message, inputs
            assert "Give a folder apart from the images" in message
        assert sorted(path.name for path in bags.rglob("*")) == ["bag.jpg", "monday"]
        (tmp_path / "file").touch()
        with pytest.raises(GbadError, match="file: no folder for pictures can be made"):
            predict(pipeline, [bags], out, pictures=tmp_path / "file")
    assert picture.name == "000000-bag.jpg"


def test_an_image_that_goes_after_its_score_costs_its_picture_alone(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    paths = [Path(shutil.copy(path, tmp_path)) for path in train_paths[:4]]
    strict = copy.deepcopy(pipeline)  # all images raise an alarm
    strict.fitted_ = replace(pipeline.fitted_, decision=replace(pipeline.fitted_.decision, thresholds=np.zeros(5)))
    predict(strict, paths, tmp_path / "expected.csv")
    expected = read(tmp_path / "expected.csv")
    explain = FittedGBAD.explain

    def gone(fitted: FittedGBAD, images: np.ndarray) -> Any:
        seen = explain(fitted, images)
        paths[1].unlink(missing_ok=True)
        paths[2].write_bytes(b"cut")
        return seen

    monkeypatch.setattr(FittedGBAD, "explain", gone)
    done = predict(strict, paths, tmp_path / "scores.csv", pictures=tmp_path / "pictures")
    assert (done.images, done.alarms, done.bad, done.lost) == (4, 4, 0, 2)
    table = read(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(table.drop(columns="boxes"), expected.drop(columns="boxes"))
    assert table["boxes"].tolist() == [expected["boxes"][0], "", "", expected["boxes"][3]]
    assert sorted(os.listdir(tmp_path / "pictures")) == [f"{row:06d}-{paths[row].stem}.jpg" for row in (0, 3)]
    for row in (1, 2):
        assert f"{paths[row]}: has scores, but no place and picture: " in caplog.text
        assert done.lines[row].endswith("BUT IT CAN NO LONGER BE READ")
    for row in (1, 2):
        shutil.copy(train_paths[row], paths[row])
    with pytest.raises(ImageError, match="no such file"):
        predict(strict, paths, tmp_path / "scores.csv", strict=True)


def test_a_full_disk_keeps_the_older_scores(
    pipeline: GBADPipeline,
    train_paths: list[Path],
    tmp_path: Path,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    out = tmp_path / "scores.csv"
    out.write_text(OLDER)
    with full_disk(12_000), pytest.raises(GbadError, match=r"scores\.csv: scores cannot be written.*scores\.csv\.part"):
        predict(pipeline, train_paths, out)
    assert out.read_text() == OLDER
    with pytest.raises(GbadError, match="cannot be written"):
        predict(pipeline, train_paths[:2], out / "below a file" / "scores.csv")
    with pytest.raises(GbadError, match="cannot be written"):
        predict(pipeline, train_paths[:2], tmp_path)


def test_two_predictions_do_not_write_one_file(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, dataset: Path
) -> None:
    pytest.importorskip("fcntl", reason="the system has no locks on files")
    out = tmp_path / "scores.csv"
    (tmp_path / "link.csv").symlink_to(out)
    explain = FittedGBAD.explain
    refused = []

    def second_one(fitted: FittedGBAD, images: np.ndarray) -> Any:
        for name in ("scores.csv", "link.csv"):
            with pytest.raises(RunError, match=f"being written by process {os.getpid()} on") as caught:
                predict(pipeline, train_paths[:3], tmp_path / name)
            refused.append(caught.value)
        with pytest.raises(RunError, match="being written by"):
            evaluate(pipeline, dataset, tmp_path)
        return explain(fitted, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FittedGBAD, "explain", second_one)
        predict(pipeline, train_paths[:40], out)
    assert len(refused) == 4
    assert read(out)["path"].tolist() == list(map(str, train_paths[:40]))
    assert sorted(os.listdir(tmp_path)) == ["link.csv", "scores.csv"]


def test_scores_do_not_replace_what_is_read_nor_devices(
    pipeline: GBADPipeline, pipeline_file: Path, train_paths: list[Path], tmp_path: Path
) -> None:
    image = Path(shutil.copy(train_paths[0], tmp_path / "a.jpg"))
    copied = Path(shutil.copy(pipeline_file, tmp_path / "pipeline.joblib"))
    (tmp_path / "link.csv").symlink_to(image)
    before = {path: path.read_bytes() for path in (image, copied)}
    for out in (image, tmp_path / "link.csv", copied):
        with pytest.raises(GbadError, match="since it is (read as|no list of scores)"):
            predict(pipeline, [tmp_path], out, protected=[copied])
    with pytest.raises(GbadError, match="it is a device or a pipe"):
        predict(pipeline, [image], "/dev/null")
    assert {path: path.read_bytes() for path in (image, copied)} == before
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "link.csv", "pipeline.joblib"]
    predict(pipeline, [image], tmp_path / "scores.csv")
    predict(pipeline, [image], tmp_path / "scores.csv")  # a finished file of its own is replaced


def test_scores_go_to_standard_output(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(pipeline, train_paths[:34], tmp_path / "scores.csv")
    assert predict(pipeline, train_paths[:34], "-").images == 34
    assert capsys.readouterr().out == (tmp_path / "scores.csv").read_text()
