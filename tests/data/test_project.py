from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gbad.data.annotations import read_voc_boxes
from gbad.data.groups import read_groups
from gbad.data.labels import read_list
from gbad.data.project import dataset, image, project_dataset
from gbad.data.project.cutouts import Cutout, find_cutouts, read_cutout
from gbad.data.project.decoys import irregular_outline, piece_of_bag
from gbad.data.project.groups import divide
from gbad.data.project.projection import Placement, multiply, place, project, truth
from gbad.data.project.sides import Side, make_side, read_sides
from gbad.errors import DataError, ImageError, RunError
from gbad.training.training_set import validation_rows

REAL = Path(__file__).parents[3] / "shared" / "data" / "sixray-mini"
TINY: dict[str, Any] = {"train_positives": 1, "test_positives": 1, "negatives_per_positive": 1, "size": 64}
SMALL: dict[str, Any] = {"train_positives": 4, "test_positives": 3, "negatives_per_positive": 2, "size": 64}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three bags and four cut-outs a side: two classes, each from two images."""
    data, rng = tmp_path / "source", np.random.default_rng(0)
    for folder in ("JPEGImage", "ImageSet/10", "threats"):
        (data / folder).mkdir(parents=True)
    for part, first in (("train", 0), ("test", 10)):
        rows = ["name,Gun,Knife,Pliers"]
        for k in range(first, first + 5):
            image = np.full((80, 96, 3), 255, np.uint8)
            image[10:70, 10:86] = rng.integers(150, 220, (60, 76, 3))
            kind = "PN"[k - first >= 2]
            Image.fromarray(image).save(data / f"JPEGImage/{kind}{k}.png")
            rows.append(f"{kind}{k}," + ("-1,-1,-1" if kind == "N" else "1,1,-1"))
        for k, label, number in ((0, "Gun", 0), (1, "Knife", 0), (0, "Knife", 1), (1, "Gun", 1)):
            rgba = np.zeros((12, 20, 4), np.uint8)
            rgba[2:10, 2:18] = (20 + first + k, 60 + number, 120, 255)
            Image.fromarray(rgba).save(data / f"threats/P{first + k}_{label}_{number:02d}.png")
        (data / f"ImageSet/10/{part}.csv").write_text("\n".join(rows) + "\n")
    return data


def annotate(data: Path, boxes: dict[str, tuple[int, int, int, int]], label: str = "Gun") -> None:
    """Put one dark thing into each image and one box into its annotation, in place of the cut-outs."""
    shutil.rmtree(data / "threats", ignore_errors=True)
    (data / "Annotation").mkdir(exist_ok=True)
    for name, (xmin, ymin, xmax, ymax) in boxes.items():
        image = np.array(Image.open(data / f"JPEGImage/{name}.png"))
        image[30:40, 30:50] = 30
        Image.fromarray(image).save(data / f"JPEGImage/{name}.png")
        (data / f"Annotation/{name}.xml").write_text(
            f"<annotation><object><name>{label}</name><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax>"
            f"<ymax>{ymax}</ymax></bndbox></object></annotation>"
        )


def test_transmittances_multiply() -> None:
    image = np.full((1, 1, 3), [200, 100, 255], np.uint8)
    darkness = np.full((1, 1, 3), [51, 255, 0], np.uint8)
    assert multiply(image, darkness).ravel().tolist() == [160, 0, 255]


def test_truth_is_what_changed() -> None:
    image = np.full((40, 50, 3), 255, np.uint8)
    image[5:35, 5:45] = 180
    placement = place(image, np.full((6, 9, 3), 128, np.uint8), np.random.default_rng(0))
    changed = (project(image, placement) != image).any(axis=2)
    of = truth(image, [placement], 0)
    assert (of.mask == changed).all()
    xmin, ymin, xmax, ymax = map(int, of.box)
    assert (xmax - xmin, ymax - ymin) == (9, 6)
    assert changed[ymin:ymax, xmin:xmax].all()
    assert changed.sum() == 54
    assert of.visible == 1


def test_what_comes_later_hides_what_was_there() -> None:
    image = np.full((40, 50, 3), 180, np.uint8)
    threat = Placement(np.full((10, 10, 3), 128, np.uint8), 5, 5)
    opaque = Placement(np.full((10, 5, 3), 255, np.uint8), 5, 5)
    assert truth(image, [threat, opaque], 0).visible == 0.5
    assert truth(image, [opaque, threat], 1).visible == 0.5  # the order makes no difference
    assert truth(image, [threat, opaque], 0).mask.sum() == 100


def test_workers_and_a_stopped_run_make_no_difference(source: Path, tmp_path: Path) -> None:
    project_dataset(source, tmp_path / "one", **SMALL, workers=1)
    project_dataset(source, tmp_path / "two", **SMALL, workers=2)
    before = contents(tmp_path / "one")
    assert contents(tmp_path / "two") == before
    for file in ("JPEGImage/P00002.jpg", "Mask/P00003.png", "ImageSet/10/test.csv"):
        (tmp_path / "two" / file).unlink()
    project_dataset(source, tmp_path / "two", **SMALL, workers=1)
    assert contents(tmp_path / "two") == before
    with pytest.raises(RunError, match="seed: there 0, asked for 1"):
        project_dataset(source, tmp_path / "two", **SMALL, seed=1, workers=1)
    train = read_list(tmp_path / "one/ImageSet/10/train.csv")
    assert train.classes == ("Gun", "Knife", "Pliers")
    for name, row in zip(train.names[:4], train.labels[:4], strict=True):
        boxes = read_voc_boxes(tmp_path / f"one/Annotation/{name}.xml")
        assert {label for label, _ in boxes} == {c for c, v in zip(train.classes, row, strict=True) if v}
        values = set(np.unique(np.asarray(Image.open(tmp_path / f"one/Mask/{name}.png"))).tolist())
        assert values <= {0} | {1 + k for k in np.flatnonzero(row)}


def test_sides_never_meet(source: Path) -> None:
    (source / "JPEGImage/N2.png").write_bytes((source / "JPEGImage/N12.png").read_bytes())
    sides, _ = read_sides(source, 10, None)
    assert [p.stem for p in sides["train"].bags] == ["N3", "N4"]
    for part, names in (("train", {"P0", "P1"}), ("test", {"P10", "P11"})):
        assert {c.image for items in sides[part].cutouts.values() for c in items} == names


def table(path: Path) -> dict[str, str]:
    header, *rows = path.read_text().splitlines()
    assert header == "name,group"
    return dict(row.split(",") for row in rows)


def test_every_image_is_made_of_one_group_which_shares_nothing_with_another(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[str, set[Path | str]] = {}
    make, read, cut = image.project_image, image.read_image, image.read_cutout

    def spy(groups: Any, layout: Any, part: str, name: str, remove_threats: bool) -> Any:
        seen = used[name] = set()
        monkeypatch.setattr(image, "read_image", lambda path: (seen.add(path), read(path))[1])
        monkeypatch.setattr(image, "read_cutout", lambda c: (seen.update((c.path, c.image)), cut(c))[1])
        return make(groups, layout, part, name, remove_threats)

    monkeypatch.setattr(dataset, "project_image", spy)
    project_dataset(source, tmp_path / "out", **SMALL | {"train_positives": 8}, workers=1)
    groups = table(tmp_path / "out/ImageSet/10/groups.csv")
    assert groups.keys() == used.keys()
    assert len(used) == 11 * 3
    assert set(groups.values()) == {"train-1", "train-2", "test-1", "test-2"}
    sources: dict[str, set[Path | str]] = {group: set() for group in groups.values()}
    for name, seen in used.items():
        sources[groups[name]] |= seen
    assert sum(map(len, sources.values())) == len(set.union(*sources.values())) == 6 + 8 + 4  # bags, cut-outs, images
    for name in (name for name in groups if name[0] == "P"):
        text = (tmp_path / f"out/Annotation/{name}.xml").read_text()
        specimens = re.findall("<specimen>(.*)</specimen>", text)
        assert specimens
        assert {source / f"threats/{specimen}.png" for specimen in specimens} <= used[name]
    for part in ("train", "test"):  # all bags equally often
        bags = [p for name, seen in used.items() if groups[name].startswith(part) for p in seen if "/N" in str(p)]
        assert set(Counter(bags)) == {source / f"JPEGImage/N{k + 10 * (part == 'test')}.png" for k in (2, 3, 4)}


def cutouts_of(images: dict[str, str]) -> list[Cutout]:
    """One cut-out for each letter: the class in lower case."""
    return [Cutout(Path(f"{name}_{c}.png"), c, name) for name, labels in images.items() for c in labels]


def side_of(images: dict[str, str], bags: int) -> Side:
    classes = sorted({c for labels in images.values() for c in labels})
    return make_side([Path(f"bag{k}") for k in range(bags)], cutouts_of(images), classes)


@pytest.mark.parametrize("seed", range(5))
def test_groups_have_all_classes_evenly_and_images_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = {f"P{k}": "a" if k < 23 else "ab" if k < 40 else "bc" if k < 45 else "c" for k in range(60)}
    side = side_of(images, 47)
    groups = divide(side, rng)
    assert len(groups) == 10
    assert sorted(bag for group in groups for bag in group.bags) == sorted(side.bags)
    assert {len(group.bags) for group in groups} == {4, 5}
    held = [{c.image for of in group.cutouts.values() for c in of} for group in groups]
    assert sum(map(len, held)) == len(set.union(*held)) == 60
    for label, share in (("a", 4.0), ("b", 2.2), ("c", 2.0)):
        counts = [len({c.image for c in group.cutouts[label]}) for group in groups]
        assert max(abs(count - share) for count in counts) < 2
        assert sum(counts) == sum(label in labels for labels in images.values())
    assert all(group.shares == side.shares for group in groups)


def test_there_are_as_many_groups_as_bags_and_images_of_the_rarest_class_allow() -> None:
    def count(images: dict[str, str], bags: int) -> int:
        return len(divide(side_of(images, bags), np.random.default_rng(0)))

    plenty = {f"P{k}": "a" for k in range(30)}
    assert count(plenty, 4) == 4
    assert count(plenty | {"Q1": "b", "Q2": "b", "Q3": "bb"}, 50) == 3
    assert count(plenty | {"Q1": "bbb"}, 50) == 1
    assert count(plenty, 1) == 1
    # Each pair of images has a class of its own in common: two groups would leave one without some class.
    assert count({"P1": "ab", "P2": "bc", "P3": "ac"}, 9) == 1


def test_equal_bytes_are_in_one_group(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.png" for k in range(8)]
    for k, path in enumerate(paths):
        path.write_text(str(k % 4))
    cutouts = [Cutout(path, "a", f"P{k}") for k, path in enumerate(paths)]
    groups = divide(make_side(paths, cutouts, ["a"]), np.random.default_rng(0))
    assert len(groups) == 4
    for group in groups:
        for own in (group.bags, [c.path for c in group.cutouts["a"]]):
            assert len(own) == 2
            assert len({path.read_text() for path in own}) == 1


def test_sources_that_cannot_be_divided_are_told_and_in_no_group(source: Path, tmp_path: Path) -> None:
    for name in ("P0_Knife_01", "P11_Gun_01"):
        (source / f"threats/{name}.png").unlink()
    with pytest.warns(UserWarning, match="only one bag, or a class with cut-outs of only one image"):
        project_dataset(source, tmp_path / "out", **TINY, workers=1)
    assert not (tmp_path / "out/ImageSet/10/groups.csv").exists()


def test_the_validation_part_of_a_projection_divides_no_group(source: Path, tmp_path: Path) -> None:
    project_dataset(source, tmp_path / "out", **SMALL | {"train_positives": 8}, workers=1)
    train = read_list(tmp_path / "out/ImageSet/10/train.csv")
    groups = np.array(read_groups(tmp_path / "out", 10, train.names))
    for seed in range(5):
        validation = validation_rows(train.names, train.labels, None, 0.2, seed, groups)
        assert len(set(groups[validation])) == len(set(groups[~validation])) == 1
        assert set(groups[validation]) != set(groups[~validation])


def test_without_threats_labels_stay_and_masks_are_empty(source: Path, tmp_path: Path) -> None:
    project_dataset(source, tmp_path / "with", **TINY, workers=1)
    project_dataset(source, tmp_path / "without", **TINY, workers=1, remove_threats=True)
    train = "ImageSet/10/train.csv"
    assert (tmp_path / "with" / train).read_bytes() == (tmp_path / "without" / train).read_bytes()
    assert not np.asarray(Image.open(tmp_path / "without/Mask/P00001.png")).any()


def test_boxes_serve_where_there_are_no_cutouts(source: Path, tmp_path: Path) -> None:
    annotate(source, {name: (26, 26, 54, 44) for name in ("P0", "P1", "P10", "P11")})
    project_dataset(source, tmp_path / "out", **TINY, workers=1)
    assert np.asarray(Image.open(tmp_path / "out/Mask/P00001.png")).max() == 1
    assert re.search("<specimen>P[01]_Gun_00</specimen>", (tmp_path / "out/Annotation/P00001.xml").read_text())


def test_a_projection_goes_on_with_the_same_data_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    project_dataset(source, out, **TINY, workers=1)
    shutil.copytree(source, tmp_path / "elsewhere")
    project_dataset(tmp_path / "elsewhere", out, **TINY, workers=1)
    cutout, bag = source / "threats/P0_Gun_00.png", source / "JPEGImage/N3.png"
    renamed = source / "threats/P0_Knife_00.png"
    before = cutout.read_bytes(), bag.read_bytes()
    cutout.rename(renamed)
    with pytest.raises(RunError, match="another sources"):
        project_dataset(source, out, **TINY, workers=1)
    renamed.rename(cutout)
    bag.write_bytes(before[1] + b" ")
    with pytest.raises(RunError, match="another sources"):
        project_dataset(source, out, **TINY, workers=1)
    bag.write_bytes(before[1])
    project_dataset(source, out, **TINY, workers=1)


def test_a_corrected_box_makes_other_data(source: Path, tmp_path: Path) -> None:
    boxes = {name: (26, 26, 54, 44) for name in ("P0", "P1", "P10", "P11")}
    annotate(source, boxes)
    project_dataset(source, tmp_path / "out", **TINY, workers=1)
    annotate(source, boxes | {"P1": (26, 26, 54, 43)})
    with pytest.raises(RunError, match="another sources"):
        project_dataset(source, tmp_path / "out", **TINY, workers=1)


def test_boxes_that_cannot_be_cut_out_are_skipped_with_one_warning(source: Path, tmp_path: Path) -> None:
    boxes = {name: (26, 26, 54, 44) for name in ("P0", "P1", "P10", "P11")}
    annotate(source, boxes)
    project_dataset(source, tmp_path / "good", **TINY, workers=1)
    usual = read_sides(source, 10, None)[0]["train"]
    more = (
        ("Hammer", 26, 44),  # a class that the lists lack: no warning, labels do not count it either
        ("Gun", 26, 27),  # less than 3 pixels high
    )
    path = source / "Annotation/P1.xml"
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>26</xmin><ymin>{ymin}</ymin><xmax>54</xmax><ymax>{ymax}</ymax>"
        "</bndbox></object>"
        for label, ymin, ymax in more
    )
    path.write_text(path.read_text().replace("</annotation>", f"{objects}</annotation>"))
    for _ in range(2):  # made, then gone on with
        with pytest.warns(UserWarning, match=r"1 in all.*/P1\.xml: the box .*27.0\) of the Gun holds less than"):
            project_dataset(source, tmp_path / "out", **TINY, workers=1)
    images = [contents(tmp_path / name / "JPEGImage") for name in ("good", "out")]
    assert images[0] == images[1]
    assert {label: len(items) for label, items in usual.cutouts.items()} == {"Gun": 2}


def test_annotations_that_contradict_the_list_or_cannot_be_read_are_skipped(source: Path) -> None:
    annotate(source, {"P0": (26, 26, 54, 44), "P10": (26, 26, 54, 44)})
    annotate(source, {"P1": (26, 26, 54, 44)}, label="Pliers")
    annotate(source, {"P11": (54, 26, 26, 44)})
    with pytest.warns(UserWarning, match=r"skipped, 2 in all.*/P1\.xml: a box of Pliers, which the list does not"):
        sides, _ = read_sides(source, 10, None)
    assert [c.image for side in sides.values() for items in side.cutouts.values() for c in items] == ["P0", "P10"]


def test_boxes_keep_the_metal_in_them(tmp_path: Path) -> None:
    image = np.full((60, 80, 3), 255, np.uint8)
    image[10:50, 10:70] = (230, 190, 120)  # clothes
    image[20:30, 20:60] = (40, 110, 180)  # a thing of metal
    image[40:43, 50:53] = (40, 110, 180)  # a rivet
    Image.fromarray(image).save(tmp_path / "a.png")
    patch = read_cutout(Cutout(tmp_path / "a.png", "Gun", "a", (12.0, 12.0, 68.0, 48.0)))
    strong = patch.max(axis=2) > 50
    assert strong.sum() == pytest.approx(400, rel=0.05)
    assert max(patch.shape[:2]) < 46


def test_bad_cutouts_are_found_before_any_image_is_made(source: Path, tmp_path: Path) -> None:
    (source / "threats/P11_Knife_00.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="P11_Knife_00"):
        project_dataset(source, tmp_path / "a", **{**SMALL, "test_positives": 0}, workers=1)
    assert not list(tmp_path.glob("a/**/*.jpg"))


def test_masks_cut_out_what_they_cover(source: Path) -> None:
    mask = np.zeros((80, 96), np.uint8)
    mask[20:30, 40:60] = 2
    (source / "Mask").mkdir()
    Image.fromarray(mask).save(source / "Mask/P0.png")
    image = np.array(Image.open(source / "JPEGImage/P0.png"))
    image[18:32, 38:62] = 40
    Image.fromarray(image).save(source / "JPEGImage/P0.png")
    cutout = Cutout(source / "JPEGImage/P0.png", "Knife", "P0", (36.0, 16.0, 64.0, 34.0), source / "Mask/P0.png", 1)
    patch = read_cutout(cutout)
    assert patch.shape == (10, 20, 3)  # neither the box nor all that is dark: the mask
    assert patch.min() > 100
    with pytest.raises(ImageError, match="nothing is seen of the Gun"):
        read_cutout(replace(cutout, label="Gun", number=0))


def test_cutouts_of_unknown_images_are_skipped_with_one_warning(source: Path) -> None:
    for k in range(2):
        (source / f"threats/Q{k}_Gun_00.png").write_bytes((source / "threats/P0_Gun_00.png").read_bytes())
    with pytest.warns(UserWarning, match="6 cut-outs are of images on neither list"):
        found = find_cutouts(source, {"P0": ["Gun"], "P1": ["Knife"]}, ("Gun", "Knife", "Pliers"), None)
    assert {cutout.image for cutout in found} == {"P0", "P1"}


def test_a_class_with_an_underscore_and_a_suffix_in_capitals(source: Path) -> None:
    (source / "threats/P0_Gun_00.png").rename(source / "threats/P0_a_Box_Cutter_00.PNG")
    shown, classes = {"P0_a": ["Box_Cutter"], "P1": ["Knife"]}, ("Cutter", "Box_Cutter", "Gun", "Knife")
    with pytest.warns(UserWarning, match="on neither list"):
        found = find_cutouts(source, shown, classes, None)
    assert ("P0_a", "Box_Cutter", "P0_a_Box_Cutter_00") in {(one.image, one.label, one.specimen) for one in found}


def test_errors_name_the_file(source: Path, tmp_path: Path) -> None:
    path = source / "threats/P0_Gun_00.png"
    Image.new("RGBA", (5, 5)).save(path)
    with pytest.raises(ImageError, match=r"P0_Gun_00.*transparent"):
        project_dataset(source, tmp_path / "a", **SMALL, workers=1)
    Image.new("RGB", (5, 5)).save(path)
    with pytest.raises(ImageError, match=r"P0_Gun_00.*without alpha"):
        project_dataset(source, tmp_path / "b", **SMALL, workers=1)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ImageError, match="P0_Gun_00"):
        project_dataset(source, tmp_path / "e", **SMALL, workers=1)
    path.rename(source / "threats/P0_Spoon_00.png")
    with pytest.raises(DataError, match="'Spoon' is not in the lists"):
        project_dataset(source, tmp_path / "c", **SMALL, workers=1)
    with pytest.raises(DataError, match="size is 8"):
        project_dataset(source, tmp_path / "d", **{**SMALL, "size": 8})


def test_the_command(source: Path, tmp_path: Path, gbad_command: Any) -> None:
    outcome = gbad_command(
        "project", source, tmp_path / "out", "--train-positives", 1, "--test-positives", 1,
        "--negatives-per-positive", 1, "--size", 64, "--workers", 1,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "gbad train" in outcome.out


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the SIXray images in {REAL}")
def test_real_cutouts_can_be_seen(tmp_path: Path) -> None:
    project_dataset(REAL, tmp_path / "out", **{**TINY, "size": 128}, workers=1)
    assert np.asarray(Image.open(tmp_path / "out/Mask/P00001.png")).any()


def test_a_decoy_has_the_size_but_not_the_outline_of_a_threat() -> None:
    """An L, as a gun is: a piece of a bag in this outline would be a gun to whoever looks at the picture."""
    threat = np.zeros((40, 60, 3), np.uint8)
    threat[5:15, 5:55] = threat[5:38, 5:16] = 200
    silhouette = threat.max(axis=2) > 0
    rng = np.random.default_rng(0)
    overlaps, areas = [], []
    for _ in range(30):
        outline = irregular_outline(silhouette, (200, 200), rng)
        whole = np.zeros((60, 80), bool)
        whole[: outline.shape[0], : outline.shape[1]] = outline
        areas.append(outline.sum() / silhouette.sum())
        threat_at = np.zeros_like(whole)
        threat_at[:40, :60] = silhouette
        shifted = [np.roll(threat_at, (y, x), (0, 1)) for y in range(-10, 12, 3) for x in range(-10, 12, 3)]
        overlaps.append(max((whole & at).sum() / (whole | at).sum() for at in shifted))
    assert 0.85 < np.median(areas) < 1.2
    assert np.median(overlaps) < 0.7


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 300)])
def test_a_decoy_of_any_threat_fits_into_its_bag(shape: tuple[int, int]) -> None:
    """Tiny, thin and long threats, in a bag that is smaller than they are."""
    bag = np.full((8, 20, 3), 200, np.uint8)
    piece = piece_of_bag(bag, np.full((*shape, 3), 100, np.uint8), np.random.default_rng(1))
    assert piece.any()
    assert piece.shape[0] <= 8
    assert piece.shape[1] <= 20
