from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gbad.data.labels import read_sixray
from gbad.data.one_class import detect_layout, load_all, read_classes
from gbad.data.one_class.class_data import choose_test_rows
from gbad.data.one_class.idx import read_idx
from gbad.data.one_class.mvtec import load_mask
from gbad.data.one_class.patches import patches_of_boxes, source_of_patches
from gbad.data.source import rows_of, source_from_array
from gbad.errors import DataError, GbadError

RNG = np.random.default_rng(0)


def write_idx(path: Path, values: np.ndarray) -> None:
    content = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for prefix, count, suffix in (("train", 6, ".gz"), ("t10k", 4, "")):
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", noise(count, 28, 28))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 3)
    return folder


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        content = {b"data": noise(2, 3072), b"labels": [number, 9]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    folder = tmp_path / "mvtec"
    for number in range(3):
        write_image(folder / "bottle" / "train" / "good" / f"{number}.png", noise(40, 40, 3))
        write_image(folder / "bottle" / "test" / "good" / f"{number}.png", noise(40, 40, 3))
        write_image(folder / "bottle" / "test" / "broken" / f"{number}.png", noise(40, 40, 3))
        mask = np.zeros((40, 40), np.uint8)
        mask[:10, :20] = 255
        write_image(folder / "bottle" / "ground_truth" / "broken" / f"{number}_mask.png", mask)
    return folder


def test_idx_files(idx: Path) -> None:
    (data,) = read_classes(idx, 32)
    assert detect_layout(idx) == "idx"
    assert (data.name, data.classes, data.normal) == ("mnist", ("0", "1", "2"), frozenset())
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.test.labels.tolist() == [0, 1, 2, 0]
    assert load_all(data.train.images).shape == (6, 32, 32, 3)
    (unscaled,) = read_classes(idx, 28)
    first = read_idx(idx / "train-images-idx3-ubyte.gz")[0]
    assert np.array_equal(load_all(unscaled.train.images)[0], np.repeat(first[..., None], 3, axis=2))


def test_fashion_mnist_has_its_names(idx: Path) -> None:
    (data,) = read_classes(idx.rename(idx.with_name("fashion-mnist")), 32)
    assert data.classes == ("T-shirt", "Trouser", "Pullover")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no test-labels"),
        (lambda path: path.write_bytes(b""), "no idx file of bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "where its header says 4"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "where its header says 4"),
        (lambda path: path.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12), "asks for"),
        (lambda path: path.write_bytes(b"\0\0\x08\x03" + b"\0" * 4 + b"\xff" * 8), "asks for"),
        (lambda path: path.write_bytes(b"\0\0\x08\xff" + b"\0\0\0\x01" * 255 + b"x"), "gives 255 dimensions"),
        (lambda path: path.write_bytes(b"\0\0\x08\0x"), "do not belong together"),
        (lambda path: write_idx(path, np.zeros(3, np.uint8)), "do not belong together"),
    ],
    ids=["missing", "empty", "truncated", "too long", "huge", "huge but empty", "255 dimensions", "no dimension",
         "another count"],
)  # fmt: skip
def test_damaged_idx_files_are_named(spoil: Callable[[Path], object], message: str, idx: Path) -> None:
    spoil(idx / "t10k-labels-idx1-ubyte")
    with pytest.raises(DataError, match=message) as caught:
        read_classes(idx, 32)
    assert str(idx) in str(caught.value)


def test_damaged_gzip_is_named(idx: Path) -> None:
    path = idx / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        read_classes(idx, 32)


@pytest.mark.parametrize("where", ["batches", "above"])
def test_cifar_batches(where: str, cifar: Path) -> None:
    (data,) = read_classes(cifar if where == "batches" else cifar.parent, 32)
    assert data.classes[9] == "truck"
    assert data.train.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert data.test.labels.tolist() == [5, 9]
    raw = pickle.loads((cifar / "data_batch_2").read_bytes())[b"data"]
    assert np.array_equal(load_all(data.train.images)[3], raw[1].reshape(3, 32, 32).transpose(1, 2, 0))


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Hostile()), "names builtins.exec"),
        (pickle.dumps({b"data": np.zeros((2, 3071), np.uint8), b"labels": [0, 1]}), "no batch of CIFAR-10"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}), "from 10 to 10"),
        (b"\x80", "no batch of CIFAR-10"),
        (b"\x80\x05\x96" + (2**28).to_bytes(8, "little") + b".", "a bytearray or a set"),
        (b"\x80\x04}(N" + b"\x85" * 100_000 + b"Nu.", "a tuple as a key"),
        (b"\x80\x04}C\x06labels]K\x01a" + b"q\x000]h\x00ah\x00a" * 24 + b"s.", "labels are no whole numbers"),
    ],
    ids=["code", "shape", "label", "damaged", "bytearray", "deep key", "lists that double"],
)
def test_other_pickles_are_refused(content: bytes, message: str, cifar: Path) -> None:
    (cifar / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_classes(cifar, 32)
    assert "test_batch" in str(caught.value)


def test_mvtec_whole_images_and_patches(mvtec: Path) -> None:
    (data,) = read_classes(mvtec, 32)
    assert (data.name, data.classes, data.normal) == ("bottle", ("good", "broken"), frozenset({"good"}))
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.masks is not None
    assert not data.masks(0).any()
    expected = np.zeros((32, 32), bool)
    expected[:8, :16] = True
    assert np.array_equal(data.masks(5), expected)

    (patches,) = read_classes(mvtec / "bottle", 32, grid=2)
    assert (patches.name, len(patches.train), len(patches.test)) == ("bottle", 12, 24)
    assert patches.test.unit.tolist() == sorted(4 * list(range(6)))
    assert patches.masks is not None
    assert patches.masks(20).any()
    assert not patches.masks(21).any()
    assert not patches.masks(22).any()


def test_a_fine_defect_survives_a_small_mask(tmp_path: Path) -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[17, 200] = 1
    write_image(tmp_path / "mask.png", mask)
    assert np.argwhere(load_mask(tmp_path / "mask.png", 32)).tolist() == [[2, 25]]


def test_mvtec_without_one_or_all_masks(mvtec: Path) -> None:
    mask = mvtec / "bottle" / "ground_truth" / "broken" / "1_mask.png"
    mask.unlink()
    with pytest.raises(DataError, match=r"1_mask\.png: no such file"):
        read_classes(mvtec, 32)
    for other in mask.parent.glob("*.png"):
        other.unlink()
    assert read_classes(mvtec, 32)[0].masks is None


def test_patches_are_cut_in_reading_order(tmp_path: Path) -> None:
    whole = noise(64, 64, 3)
    write_image(tmp_path / "a.png", whole)
    patches = load_all(source_of_patches([tmp_path / "a.png"], 2, 32))
    assert np.array_equal(patches[1], whole[:32, 32:])
    assert np.array_equal(patches[2], whole[32:, :32])


def test_patches_that_show_a_threat() -> None:
    # 100 x 100 pixels, 2 x 2 patches. A small box in one patch counts by its own area, although 1 % of the patch.
    assert patches_of_boxes([(60, 60, 65, 65)], (100, 100), 2).tolist() == [False, False, False, True]
    # 40 x 20, over two patches: 300 and 500 of 2,500 pixels.
    assert patches_of_boxes([(35, 0, 75, 20)], (100, 100), 2).tolist() == [True, True, False, False]
    # 6 x 40 of its 56 x 40 pixels lie in the left patch: 240 of 2,500, and 11 % of the box.
    assert patches_of_boxes([(44, 0, 100, 40)], (100, 100), 2).tolist() == [False, True, False, False]
    # A quarter of a small box in each patch, one of them a little larger.
    assert patches_of_boxes([(45, 45, 56, 55)], (100, 100), 2).tolist() == [False, True, False, False]
    assert not patches_of_boxes([], (100, 100), 2).any()
    assert not patches_of_boxes([(10, 10, 10, 10)], (100, 100), 2).any()


def test_ganomaly_layout(tmp_path: Path) -> None:
    for name, count in (("train/0.normal", 3), ("test/0.normal", 2), ("test/1.abnormal", 4)):
        for number in range(count):
            write_image(tmp_path / name / f"{number}.png", noise(8, 8, 3))
    assert detect_layout(tmp_path) == "normal-abnormal"
    (data,) = read_classes(tmp_path, 32)
    assert data.train.labels.tolist() == [0, 0, 0]
    assert data.test.labels.tolist() == [0, 0, 1, 1, 1, 1]
    assert data.normal == {"normal"}
    (tmp_path / "test" / "1.abnormal").rename(tmp_path / "test" / "elsewhere")
    with pytest.raises(DataError, match=r"1\.abnormal: no such folder"):
        read_classes(tmp_path, 32, layout="normal-abnormal")


def test_plain_normal_and_abnormal_folders(tmp_path: Path) -> None:
    for name, count in (("normal", 10), ("abnormal", 3)):
        for number in range(count):
            write_image(tmp_path / name / f"{number}.png", noise(8, 8, 3))
    (data,) = read_classes(tmp_path, 32)
    assert (len(data.train), data.test.labels.tolist()) == (8, [0, 0, 1, 1, 1])
    assert not set(data.train.images.names) & set(data.test.images.names)
    again = read_classes(tmp_path, 32)[0]
    assert again.test.images.names == data.test.images.names


def test_equal_files_are_held_out_together(tmp_path: Path) -> None:
    pixels = [noise(8, 8, 3) for _ in range(4)]
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number}.png")
        write_image(paths[-1], pixels[number % 4])
    held = choose_test_rows(paths, 0.5)
    assert held.sum() == 6
    assert (held.reshape(3, 4) == held[:4]).all()
    with pytest.raises(DataError, match="1 different image"):
        choose_test_rows(paths[::4])


def test_class_folders(tmp_path: Path) -> None:
    for name in ("apple scab", "apple healthy", "corn rust"):
        for number in range(5):
            write_image(tmp_path / name / f"{number}.jpg", noise(16, 16, 3))
    (data,) = read_classes(tmp_path, 32)
    assert data.classes == ("apple healthy", "apple scab", "corn rust")
    assert np.bincount(data.train.labels).tolist() == [4, 4, 4]
    assert np.bincount(data.test.labels).tolist() == [1, 1, 1]


def test_class_folders_with_official_parts(tmp_path: Path) -> None:
    for part, name, count in (("train", "a", 3), ("test", "a", 2), ("test", "b", 4)):
        for number in range(count):
            write_image(tmp_path / part / name / f"{number}.jpg", noise(16, 16, 3))
    (data,) = read_classes(tmp_path, 32, layout="classes")
    assert data.classes == ("a", "b")
    assert data.train.labels.tolist() == [0, 0, 0]
    assert data.test.labels.tolist() == [0, 0, 1, 1, 1, 1]


def test_sixray_whole_images(dataset: Path) -> None:
    (data,) = read_classes(dataset, 32)
    train, test = (read_sixray(dataset, 10, part) for part in ("train", "test"))
    assert len(data.train) == (~train.positive).sum()
    assert data.test.labels.tolist() == test.positive.astype(int).tolist()
    assert data.masks is not None  # the simulator writes masks
    for row in range(0, len(test), 5):
        assert data.masks(row).any() == test.positive[row]


def test_sixray_patches(dataset: Path, own_dataset: Path) -> None:
    (data,) = read_classes(dataset, 32, grid=2)
    test = read_sixray(dataset, 10, "test")
    assert len(data.train) == 4 * 48
    assert (data.test.labels == 0).sum() == 4 * (~test.positive).sum()
    shown = {name.split("#")[0] for name, label in zip(data.test.images.names, data.test.labels, strict=True) if label}
    assert {Path(name).stem for name in shown} == set(test.select(test.positive).names)
    assert data.test.image is not None
    names = [Path(name.split("#")[0]).stem for name in data.test.images.names]
    assert [test.names[one] for one in data.test.image.tolist()] == names
    first = test.select(test.positive).names[0]
    (own_dataset / "Annotation" / f"{first}.xml").unlink()
    with pytest.raises(DataError, match=rf"{first}\.xml: no such file"):
        read_classes(own_dataset, 32, grid=2)


def test_folders_of_no_known_layout(tmp_path: Path, idx: Path) -> None:
    with pytest.raises(DataError, match="nothing: no such folder"):
        detect_layout(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no known layout"):
        detect_layout(tmp_path / "empty")
    with pytest.raises(DataError, match=r"data_batch_1: no such file\. Unpack"):
        read_classes(idx, 32, layout="cifar10")
    with pytest.raises(DataError, match="layout 'mnist' is unknown"):
        read_classes(idx, 32, layout="mnist")
    with pytest.raises(DataError, match="grid of 2"):
        read_classes(idx, 32, grid=2)


def test_large_sets_lie_in_a_file() -> None:
    images = noise(70, 32, 32, 3)
    source = rows_of(source_from_array(images, 32), np.arange(70)[::-1])
    loaded = load_all(source, in_memory=1000)
    assert isinstance(loaded, np.memmap)
    assert np.array_equal(loaded, images[::-1])


def test_a_full_disk_is_told(full_disk: Callable[[int], AbstractContextManager[None]]) -> None:
    with full_disk(1000), pytest.raises(GbadError, match=r"took only part of the images.*TMPDIR"):
        load_all(source_from_array(noise(70, 32, 32, 3), 32), in_memory=1000)


# ---- UCSD, and what is refused --------------------------------------------------------------------------------------


def write_clip(folder: Path, frames: int, suffix: str = ".tif", *, abnormal: tuple[int, ...] | None = None) -> None:
    """A clip of `frames`; with `abnormal`, masks of those frames (from 1) beside it."""
    for frame in range(1, frames + 1):
        write_image(folder / f"{frame:03d}{suffix}", noise(24, 32))
        if abnormal is not None:
            mask = np.zeros((24, 32), np.uint8)
            mask[:6, :8] = 255 * (frame in abnormal)
            write_image(folder.with_name(f"{folder.name}_gt") / f"{frame:03d}.bmp", mask)


@pytest.fixture
def ucsd(tmp_path: Path) -> Path:
    """One subset: two clips to train on, two to test, with masks."""
    folder = tmp_path / "UCSD_Anomaly_Dataset.v1p2" / "UCSDped1"
    for number in (1, 2):
        write_clip(folder / "Train" / f"Train00{number}", 3)
    write_clip(folder / "Test" / "Test001", 4, abnormal=(2, 3))
    write_clip(folder / "Test" / "Test002", 3, abnormal=())
    return folder


def test_ucsd_frames_are_labelled_by_their_masks(ucsd: Path) -> None:
    assert detect_layout(ucsd.parent) == detect_layout(ucsd) == "ucsd"
    (data,) = read_classes(ucsd.parent, 32)
    assert (data.name, data.classes, data.normal) == ("UCSDped1", ("normal", "abnormal"), frozenset({"normal"}))
    assert len(data.train) == 6
    assert data.test.labels.tolist() == [0, 1, 1, 0, 0, 0, 0]
    assert data.test.unit.tolist() == list(range(7))  # each frame by itself
    assert data.test.image is not None
    assert data.test.image.tolist() == [0, 0, 0, 0, 1, 1, 1]  # clips
    assert not any("_gt" in name for name in data.test.images.names)
    assert data.masks is not None
    assert [bool(data.masks(row).any()) for row in range(7)] == [False, True, True, False, False, False, False]


def test_ucsd_frames_are_labelled_by_the_list_where_there_is_one(ucsd: Path) -> None:
    listed = ucsd / "Test" / "UCSDped1.m"
    listed.write_text(
        "TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [1:2, 4];\nTestVideoFile{end+1}.gt_frame = [3];\n"
    )
    assert read_classes(ucsd, 32)[0].test.labels.tolist() == [1, 1, 0, 1, 0, 0, 1]
    listed.write_text("TestVideoFile{end+1}.gt_frame = [1:2];")
    with pytest.raises(DataError, match=r"UCSDped1\.m: 1 lists gt_frame for 2 test clips"):
        read_classes(ucsd, 32)
    listed.write_text("x.gt_frame = [1:5];\nx.gt_frame = [1];")
    with pytest.raises(DataError, match="gt_frame of Test001 has '1:5', which is no range within its 4 frames"):
        read_classes(ucsd, 32)


def test_ucsd_clips_whose_frames_nothing_labels_are_refused(ucsd: Path) -> None:
    write_clip(ucsd / "Test" / "Test003", 2)
    with pytest.raises(DataError, match=r"Test003_gt: no such folder, and no file \*\.m"):
        read_classes(ucsd, 32)
    write_image(ucsd / "Test" / "Test003_gt" / "001.bmp", noise(24, 32))
    with pytest.raises(DataError, match="1 masks for 2 frames of Test003"):
        read_classes(ucsd, 32)


def test_a_tree_like_ucsds_is_no_two_classes(tmp_path: Path) -> None:
    for part, clip in (("Train", "video1"), ("Test", "video2"), ("Test", "video2_gt")):
        write_clip(tmp_path / part / clip, 2)
    with pytest.raises(DataError, match="unclear which folders are classes"):
        detect_layout(tmp_path)
    with pytest.raises(DataError, match="Test, Train cannot be classes"):
        read_classes(tmp_path, 32, layout="classes")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("cat", "dog", "dog_gt"), "dog_gt cannot be classes"),
        (("cat", "dog", "ground_truth"), "ground_truth cannot be classes"),
        (("cat", "dog", "val"), "val cannot be classes"),
        (("cat/young", "dog"), "young: holds images below the class folder cat"),
        (("cat", "dog", "."), "beside class folders"),
        (("train/cat", "train/dog", "test/cat", "test/dog", "valid/cat"), "valid: a folder of images beside train"),
        (("normal", "abnormal", "unknown"), "unknown: a folder of images beside normal and abnormal images"),
        (("normal", "good", "abnormal"), "normal: its name says the same as that of good"),
        (("disc/train/good", "disc/test/good", "disc/test/spot", "cube/test/spot"), "cube: a folder of images"),
        (("disc/train/good", "disc/test/spot", "ImageSet"), r"may have several layouts \(sixray, mvtec\)"),
    ],
)  # fmt: skip
def test_a_folder_that_may_mean_something_else_is_refused(
    folders: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    for folder in folders:
        for number in range(2):
            write_image(tmp_path / folder / f"{number}.png", noise(8, 8, 3))
    with pytest.raises(DataError, match=message):
        read_classes(tmp_path, 32)


def test_a_class_may_be_about_masks(tmp_path: Path) -> None:
    for folder in ("with_mask", "without_mask"):
        for number in range(2):
            write_image(tmp_path / folder / f"{number}.png", noise(8, 8, 3))
    assert read_classes(tmp_path, 32)[0].classes == ("with_mask", "without_mask")


def test_who_names_the_layout_may_have_folders_below_the_classes(tmp_path: Path) -> None:
    for folder in ("cat/young", "cat/old", "dog"):
        for number in range(3):
            write_image(tmp_path / folder / f"{number}.png", noise(8, 8, 3))
    (data,) = read_classes(tmp_path, 32, layout="classes")
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.test) == 9
