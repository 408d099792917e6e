from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import assert_fits
from explanations import one_look
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from gbad.errors import DataError
from gbad.evaluation.figures import PARTS, evaluate
from gbad.explanation import Explanation, SeenRegions
from gbad.report import gallery
from gbad.report.drawing import Finding, TrueBox
from gbad.report.evaluation import Evaluation
from gbad.report.gallery import choose, outranked, overlaid, picture
from gbad.report.loss_plot import MAX_SCATTER_POINTS, loss_figure
from gbad.report.numbers import interval, percent, points, signed
from gbad.report.page import gate_text, write_report
from gbad.report.plots import figures, precision_recall_figure, roc_figure, save_plots, training_figure
from gbad.report.style import svg
from gbad.report.tables import Column, Table

CLASSES = ("Gun", "Knife", "Pliers")
PHASE3 = {"suppression": "soft", "strength": 0.5, "heads_share": 0.125}
HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


class Page(HTMLParser):
    """Tags, addresses and visible text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def simulated_scores(n: int = 300, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, Explanation]:
    """Labels and scores of `n` images; the third class has no image."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((n, n_classes)) < [0.1, 0.08, 0][:n_classes]).astype(np.uint8)
    y_any = labels.any(axis=1)
    logits = 3 * labels - 2 + generator.standard_normal(labels.shape)
    ungated = 1 / (1 + np.exp(-logits))
    gate_score = 2 * y_any + generator.standard_normal(n)
    anomalous = gate_score > 1.5
    log_gated = np.log(np.where(anomalous[:, None], ungated, 1e-6 * ungated))
    losses = np.exp(generator.standard_normal((n, 2)) + gate_score[:, None])
    any_threat = gate_score + generator.standard_normal(n)
    return labels, one_look(logits, losses, gate_score, anomalous, log_gated, any_threat)


def make_evaluation(
    labels: np.ndarray, scores: Explanation, classes: Sequence[str] = CLASSES, *, resamples: int = 0,
    history: pd.DataFrame | None = None, **more: Any,
) -> Evaluation:  # fmt: skip
    metrics = evaluate(labels, scores, classes, resamples=resamples) | more
    return Evaluation(classes, labels, scores, np.full(len(classes), 0.4), metrics, history)


def some_paths(folder: Path, n: int) -> list[Path]:
    """Give `n` paths of which every other one is an image, the rest do not exist."""
    pictures = [folder / f"P{i}.png" for i in range(2)]
    for i, path in enumerate(pictures):
        Image.new("RGB", (60 + 900 * i, 40), (255, 200 - 50 * i, 90)).save(path)
    return [pictures[i // 2 % 2] if i % 2 else folder / f"missing{i}.png" for i in range(n)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, Mapping[str, Any]]:
    folder = tmp_path_factory.mktemp("report")
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.7, 0.5], "validation_map": [0.2, 0.4], "seconds": [3, 3]})
    evaluation = make_evaluation(*simulated_scores(), resamples=50, history=history, n_bad=7, phase3=PHASE3)
    paths = some_paths(folder, 300)
    threat_free = ~evaluation.any_threat
    worst = np.flatnonzero(threat_free)[evaluation.scores.gated[threat_free].max(axis=1).argmax()]
    paths[worst] = folder / HOSTILE
    write_report(
        folder / "report.html",
        evaluation,
        title="Simulated <10>",
        paths=paths,
        info={"command": "gbad evaluate <x>", "seconds": {"phase 1": 12.5}, "seed": 0, "weights": None},
        findings=lambda row: [Finding(CLASSES[0], 0.5, 0, np.array([0.1, 0.1, 0.5, 0.5]))],
        truth={row: [TrueBox("Gun", np.array([0.2, 0.2, 0.6, 0.6]))] for row in range(300)},
        operating=Table([Column("Threshold", lambda value: value)], [-1.25]),
        about_operating="From held-out images.",
    )
    return Page(folder / "report.html"), evaluation.metrics


def test_page_needs_nothing_but_itself(report):
    page, _ = report
    addresses = [
        attrs[name] or ""
        for tag, attrs in page.tags
        for name in ("src", "href", "xlink:href", "srcset", "data")
        if name in attrs
    ]
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert "@import" not in page.source
    assert "url(http" not in page.source
    assert page.source.count("http") == page.source.count("http://www.w3.org/") + page.source.count("http-equiv")


def test_page_fits_windows_of_any_width(report, tmp_path):
    page, _ = report
    assert_fits(page.path, tmp_path, images=6)


def test_page_shows_the_figures_of_metrics_json(report):
    page, metrics = report
    for key in ("ungated", "gbad"):
        assert f"{100 * metrics[key]['map']:.1f}\N{NO-BREAK SPACE}%".replace("\xa0", " ") in page.text
        low, high = metrics["intervals"][key]["per_class_ap"]["Gun"]
        assert f"{100 * low:.1f} to {100 * high:.1f}" in page.text
    difference = 100 * (metrics["gbad"]["map"] - metrics["ungated"]["map"])
    assert f"{difference:+.1f}".replace("-", "\N{MINUS SIGN}") in page.text
    assert f"{metrics['any_threat']['roc_auc']:.3f}" in page.text
    assert "Pliers 0 missing: no image of this class" in page.text
    assert "7 unusable images left out" in page.text
    assert "phase 1 12.5" in page.text
    assert gate_text(PHASE3).replace("\xa0", " ") in page.text


def test_user_strings_are_escaped(report):
    page, _ = report
    assert HOSTILE in page.text
    assert "Simulated <10>" in page.text
    assert "gbad evaluate <x>" in page.text
    assert not any("onerror" in attrs for _, attrs in page.tags)


def test_unreadable_images_are_shown_as_such(report):
    page, _ = report
    assert "missing: no such file" in page.text
    assert any(tag == "img" for tag, _ in page.tags)


def test_images_come_before_the_figures_and_what_is_none_is_left_out(report):
    page, _ = report
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "section" and "id" in attrs]
    assert ids[:3] == ["images", "decisions", "classes"]
    assert ids[-1] == "made"
    assert "None" not in page.text.replace("None.", "")  # an empty gallery says so
    assert "weights" not in page.text


def test_thresholds_are_printed_with_what_they_do(report):
    page, _ = report
    evaluation = make_evaluation(*simulated_scores())
    found, present = evaluation.found[:, 0], evaluation.present[:, 0]
    hits, of = int((found & present).sum()), int(present.sum())
    free = ~evaluation.any_threat
    alarms = int((found & free).sum())
    row = f"Gun 0.400 {percent(hits / of)} {hits} of {of} {percent(alarms / free.sum())} {alarms} of {free.sum()}"
    assert row.replace("\xa0", " ") in page.text
    assert "Threshold -1.25" in page.text
    assert "From held-out images." in page.text
    alarm = evaluation.found.any(axis=1)
    for rows in (evaluation.any_threat, free):
        assert f"{alarm[rows].sum()} of {rows.sum()}, by the classes' thresholds" in page.text


def test_galleries_count_all_and_show_some(report):
    page, _ = report
    evaluation = make_evaluation(*simulated_scores())
    margin = evaluation.scores.gated - 0.4
    groups = choose(evaluation.present, evaluation.found, margin)
    threats, free = evaluation.any_threat.sum(), (~evaluation.any_threat).sum()
    assert f"Found: {len(groups['found'])} of {threats} images with threats" in page.text
    assert f"Missed: {len(groups['missed'])} of {threats} images with threats" in page.text
    assert f"False alarms: {len(groups['false_alarms'])} of {free} threat-free images" in page.text
    shown = [attrs["title"] for tag, attrs in page.tags if attrs.get("class") == "name"]
    assert len(shown) == sum(min(len(rows), 6) for rows in groups.values())


def test_hostile_class_names_and_file_names_stay_text(tmp_path):
    names = ("_<script>alert(1)</script>", "$\\frac{$", "刀/a")
    evaluation = make_evaluation(*simulated_scores(40), names)
    no_text = Path(os.fsdecode(b"\xff.png"))
    write_report(tmp_path / "r.html", evaluation, title="t", paths=[no_text] * 40)
    page = Page(tmp_path / "r.html")
    assert all(name in page.text for name in (*names, "?.png"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert all(path.stat().st_size > 1000 for path in save_plots(tmp_path, evaluation, dpi=40))


def test_only_the_images_shown_are_read_and_the_page_is_reproducible(tmp_path, monkeypatch):
    read: list[Path] = []

    def counting(path: Path) -> np.ndarray:
        read.append(path)
        return np.full((30, 40, 3), 200, np.uint8)

    monkeypatch.setattr(gallery, "read_picture", counting)
    evaluation = make_evaluation(*simulated_scores(100, 1), CLASSES[:1])
    paths = [Path(f"P{i}.jpg") for i in range(100)]
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, evaluation, title="t", paths=paths)
    assert 0 < len(read) <= 2 * 18
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("kind", ["one", "threat-free", "threats", "constant"])
def test_degenerate_evaluations_still_give_a_report_and_plots(tmp_path, kind):
    n = 1 if kind == "one" else 20
    labels, scores = simulated_scores(n, 1)
    if kind == "threat-free":
        labels[:] = 0
    elif kind == "threats":
        labels[:] = 1
    elif kind == "constant":
        names = ("logits", "ungated", "losses", "gate_score", "anomalous", "log_gated", "any_threat")
        scores = replace(scores, **{name: np.zeros_like(getattr(scores, name)) for name in names})
    scores.losses[0] = np.nan
    evaluation = make_evaluation(labels, scores, CLASSES[:1], resamples=5)
    metrics = json.loads(json.dumps(evaluation.metrics).replace("NaN", "null"))
    history = pd.DataFrame({"note": ["no numbers"], "loss": [np.nan]})
    evaluation = replace(evaluation, metrics=metrics, history=history)
    write_report(tmp_path / "r.html", evaluation, title=kind, paths=[Path("missing.png")] * n)
    page = Page(tmp_path / "r.html")
    assert "nan" not in page.text.lower().split()
    assert "missing" in page.text
    assert len(save_plots(tmp_path / "plots", evaluation, dpi=40)) == 5


def test_arrays_and_paths_must_belong_together(tmp_path):
    labels, scores = simulated_scores(10)
    with pytest.raises(DataError, match="9 paths for 10 images"):
        write_report(tmp_path / "r.html", make_evaluation(labels, scores), title="t", paths=["x"] * 9)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="pass 2 losses for each image"):
        Evaluation(CLASSES, labels, replace(scores, losses=scores.losses[:, :1]), np.full(3, 0.5), {})
    with pytest.raises(DataError, match="one score for each label"):
        Evaluation(CLASSES, labels[1:], scores, np.full(3, 0.5), {})
    scores.log_gated[3, 0] = np.nan
    with pytest.raises(DataError, match="nan in row 3"):
        Evaluation(CLASSES, labels, scores, np.full(3, 0.5), {})
    with pytest.raises(DataError, match="pass one for each class"):
        Evaluation(CLASSES, labels, simulated_scores(10)[1], np.full(2, 0.5), {})


def test_save_plots_writes_png_files_by_name(tmp_path):
    evaluation = make_evaluation(*simulated_scores(60), history=pd.DataFrame({"loss": [1.0, 0.5]}))
    paths = save_plots(tmp_path / "new", evaluation)
    names = {"average_precision", "precision_recall", "roc", "any_threat_precision_recall", "losses", "training"}
    assert {path.stem for path in paths} == names
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 300


@pytest.mark.parametrize(
    ("suppression", "strength", "idle"),
    [("soft", 0.0, True), ("soft", 0.5, False), ("hard", 1.0, True), ("hard", 0.01, False)],
)
def test_a_gate_that_changes_nothing_is_called_so(suppression, strength, idle):
    text = gate_text({"suppression": suppression, "strength": strength, "heads_share": 0.125})
    assert ("This gate changes no probability" in text) == idle
    assert "Class heads have 12.5\N{NO-BREAK SPACE}% of the first look's ranking" in text
    assert "second look" not in text
    chosen = {"suppression": suppression, "strength": strength, "heads_share": 0.125}
    twice = gate_text(chosen | {"second_look": {"share": 0.75, "strength": 0.0}})
    assert twice.startswith(text)
    assert "second look has 75.0\N{NO-BREAK SPACE}% of the ranking" in twice


def test_every_score_for_any_threat_has_its_curve():
    evaluation = make_evaluation(*simulated_scores(200))
    y_any, any_threat = evaluation.any_threat, evaluation.scores.any_threat
    drawn = figures(evaluation)
    expected = {
        "roc": f"AUC {roc_auc_score(y_any, any_threat):.3f}",
        "any_threat_precision_recall": f"AP {100 * average_precision_score(y_any, any_threat):.1f}",
    }
    for name, own in expected.items():
        texts = " ".join(text.get_text() for text in drawn[name].axes[0].get_legend().get_texts())
        for score in ("gate score", "classifier's maximum", f"all classes, calibrated, {own}"):
            assert score in texts


def test_threat_is_outranked_by_images_without_its_class_only():
    y_true = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.9], [0.3, 0.3], [0.5, 0.5], [0.4, 0.5]])
    counts = outranked(y_true, scores)
    assert counts[:, 0].tolist() == [0, 2, 4, 4]
    assert counts[:, 1].tolist() == [4, 2, 1, 4]  # the tie at 0.5 does not count


def test_galleries_are_chosen_by_the_thresholds():
    y_true = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 0], [0, 0], [0, 0]], dtype=bool)
    margin = np.array([[0.1, -1], [0.5, 0.2], [0.9, -0.1], [0.3, -0.4], [-0.1, 0.2], [-1, -1], [0.7, -1]])
    chosen = choose(y_true, margin >= 0, margin)
    assert chosen["found"].tolist() == [1, 0]  # the more certain first; another class besides does no harm
    assert chosen["missed"].tolist() == [3, 2]  # the further below first; one of two threats is enough
    assert chosen["false_alarms"].tolist() == [6, 4]
    nothing = choose(y_true[:0], margin[:0] >= 0, margin[:0])
    assert [len(rows) for rows in nothing.values()] == [0, 0, 0]


def test_no_negative_zero():
    assert points(-0.0004) == "+0.0"
    assert interval([-0.0004, 0.0004]) == "0.0 to 0.0"
    assert percent(-0.0) == "0.0\N{NO-BREAK SPACE}%"
    assert signed(-0.0004, 3) == "0.000" == signed(-0.0, 3)
    assert signed(-1.25, 2) == "\N{MINUS SIGN}1.25"


def test_curves_of_many_images_stay_small():
    labels, scores = simulated_scores(60_000)
    y_any = labels.any(axis=1)
    scatter = loss_figure(y_any, scores.losses, scores.anomalous).axes[0]
    drawn = [len(collection.get_offsets()) for collection in scatter.collections]
    assert max(drawn) == MAX_SCATTER_POINTS
    names = [collection.get_label() for collection in scatter.collections]
    assert f"threat, called normal: {(y_any & ~scores.anomalous).sum():,}" in names
    assert len(svg(roc_figure(y_any, {"gate": scores.gate_score}))) < 200_000


def test_losses_of_any_number_can_be_drawn():
    labels, scores = simulated_scores(200)
    y_any, one = labels.any(axis=1), scores.losses[:, :1]
    shares = loss_figure(y_any, one, scores.anomalous, ["mahalanobis_distance"]).axes
    assert [axes.get_xlabel() for axes in shares] == ["mahalanobis distance"]
    threat = next(line for line in shares[0].get_lines() if line.get_label() == f"threat: {y_any.sum()}")
    np.testing.assert_allclose(threat.get_xdata(), np.sort(one[y_any, 0]))
    np.testing.assert_allclose(threat.get_ydata(), np.arange(1, y_any.sum() + 1) / y_any.sum())
    three = np.hstack([scores.losses, one])
    panels = loss_figure(y_any, three, scores.anomalous, ["a", "b", "image_anomaly"]).axes
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in panels] == [("a", "b"), ("a", "image anomaly")]


def test_precision_recall_curve_encloses_the_average_precision():
    evaluation = make_evaluation(*simulated_scores(300))
    metrics, scores = evaluation.metrics, evaluation.scores
    figure = precision_recall_figure(evaluation.present, scores.ungated, scores.gated, CLASSES)
    gun, _, pliers = figure.axes
    for line, key in zip(gun.get_lines()[1:], ("ungated", "gbad"), strict=True):
        recall, precision = line.get_data()
        area = (np.diff(recall) * np.asarray(precision)[1:]).sum()  # steps, as the average precision sums them
        assert area == pytest.approx(metrics[key]["per_class_ap"]["Gun"])
    assert not pliers.get_lines()


def test_training_figure_sorts_columns_and_tolerates_the_rest():
    history = pd.DataFrame(
        {"epoch": [1, 2], "loss": [1, 0.5], "$\\frac{$ loss": [1, 0.7], "map": [0.1, None], "device": "cpu"}
    )
    figure = training_figure(history)
    assert figure is not None
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 1]
    assert "$\\frac{$ loss" in svg(figure)
    assert training_figure(pd.DataFrame({"seconds": [1.0]})) is None
    assert training_figure(pd.DataFrame()) is None


def test_what_each_part_adds_is_told(tmp_path):
    labels, scores = simulated_scores()
    better = scores.log_gated + 2 * labels - 2
    image = np.repeat(np.arange(300), 2)
    boxes = np.tile([[0.1, 0.1, 0.4, 0.9], [0.5, -0.2, 1.1, 0.4]], (300, 1))
    log_odds = np.tile([[-1.0, 2.5, -3.0], [-2.0, -2.5, -1.0]], (300, 1))
    regions = SeenRegions(image, boxes, log_odds, log_odds, np.ones((600, 2)), np.zeros(600))
    scores = replace(
        scores, log_gated=better, looked_twice=np.ones(300, bool), second_look=log_odds[::2], regions=regions
    )
    evaluation = make_evaluation(labels, scores, resamples=50)
    write_report(tmp_path / "report.html", evaluation, title="Twice", paths=[Path("none.png")] * 300)
    page = Page(tmp_path / "report.html")
    metrics = evaluation.metrics
    for name, (after, before) in PARTS.items():
        assert f"with {name}" in page.text
        assert points(metrics[after]["map"] - metrics[before]["map"]) in page.text
        assert f"{after} - {before}" in metrics["intervals"]
    assert metrics["gbad"]["map"] > metrics["first_look"]["map"]
    assert metrics["looked_twice"] == {"threats": 1.0, "threat_free": 1.0}
    assert "2 regions looked at again" in page.text


def test_a_heatmap_is_seen_on_a_grey_image():
    image = Image.fromarray(np.full((100, 200, 3), (90, 160, 200), np.uint8))
    heatmap = np.zeros((10, 20))
    heatmap[2:4, 5:8] = 1.0
    shown = np.asarray(overlaid(image, heatmap)).astype(int)
    red, green, blue = np.moveaxis(shown, 2, 0)
    assert (np.abs(green - blue) <= 1).all()  # the image's own colour is gone
    assert (red - green)[25:35, 55:75].min() > 100
    assert np.abs(red - green)[60:, 120:].max() <= 1


def test_pictures_are_large_and_show_what_was_found_and_what_is_there(tmp_path):
    path = tmp_path / "bag.png"
    Image.fromarray(np.full((100, 200, 3), 120, np.uint8)).save(path)

    def shown(*given: Any) -> np.ndarray:
        source, problem = picture(path, *given)
        assert not problem
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))).astype(int)

    plain = shown()
    assert max(plain.shape) >= 640
    box = np.array([0.25, 0.25, 0.5, 0.75])
    for drawn in (shown([Finding("Gun", 0.9, 0, box)]), shown((), [TrueBox("Gun", box)])):
        assert drawn.shape == plain.shape
        assert np.abs(drawn - plain)[75:245, 155:325].max() > 60  # the frame
        assert np.abs(drawn - plain)[100:220, 180:300].max() < 10  # what is in it
    source, problem = picture(tmp_path / "none.png")
    assert not source
    assert problem.startswith("missing: no such file")
