from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gbad.data.dicom import frames_of
from gbad.data.images import find_images, image_size, read_image
from gbad.data.pictures import open_picture, read_picture
from gbad.errors import ImageError

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")


def write_dicom(path: Path, pixels: np.ndarray, photometric: str = "MONOCHROME2", **more: Any) -> Path:
    """Write pixels (h, w), (h, w, 3) or, with NumberOfFrames, (n, h, w) as an uncompressed DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    colour = photometric == "RGB"
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3 if colour else 1), photometric
    if colour:
        dataset.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def grey(path: Path) -> list[int]:
    image = read_picture(path)
    assert (image == image[..., :1]).all()
    return image[0, :, 0].tolist()


def test_grey_values_are_shown_as_the_file_asks_for(tmp_path: Path) -> None:
    path, values = tmp_path / "a.dcm", np.array([[0, 1000, 32768, 65535]], np.uint16)
    assert grey(write_dicom(path, values)) == [0, 4, 128, 255]
    assert grey(write_dicom(path, values, "MONOCHROME1")) == [255, 251, 127, 0]
    assert grey(write_dicom(path, values, BitsStored=16, WindowCenter=1000, WindowWidth=1000)) == [0, 128, 255, 255]
    signed = np.array([[-1000, 0, 1000]], np.int16)
    scale = {"RescaleSlope": 2, "RescaleIntercept": 100, "WindowCenter": 100, "WindowWidth": 4001}
    assert grey(write_dicom(path, signed, **scale)) == [0, 128, 255]
    assert grey(write_dicom(path, np.array([[0, 7, 255, 0]], np.uint8))) == [0, 7, 255, 0]


def test_what_is_empty_or_half_there_is_as_if_it_were_absent(tmp_path: Path) -> None:
    path, values = tmp_path / "a.dcm", np.array([[0, 1000, 32768, 65535]], np.uint16)
    for more in (
        {"WindowCenter": 1000, "WindowWidth": None},
        {"WindowCenter": None, "WindowWidth": 1000},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowWidth": 1000},
        {"WindowCenter": 1000},
        {"VOILUTSequence": []},
        {"RescaleSlope": None, "RescaleIntercept": 5},
        {"RescaleSlope": None, "RescaleIntercept": None},
    ):
        assert grey(write_dicom(path, values, **more)) == [0, 4, 128, 255], more


def test_a_scale_that_leaves_one_grey_value_is_refused(tmp_path: Path) -> None:
    path, values = tmp_path / "a.dcm", np.array([[0, 1000, 32768, 65535]], np.uint16)
    for window in ({}, {"WindowCenter": 1000, "WindowWidth": 1000}):
        write_dicom(path, values, RescaleSlope=0, RescaleIntercept=7, **window)
        with pytest.raises(ImageError, match=r"a\.dcm: its rescaling .* the one value 7\. .*save the image") as caught:
            read_picture(path)
        assert caught.value.status == "unsupported"
    upside_down = {"RescaleSlope": -1, "RescaleIntercept": 0, "WindowCenter": -1000, "WindowWidth": 1000}
    assert grey(write_dicom(path, values, **upside_down)) == [255, 128, 0, 0]


def test_paths_that_cannot_be_looked_at_have_no_frames(tmp_path: Path) -> None:
    path = tmp_path / f"{'a' * 300}.dcm"
    assert frames_of(path) == [path]


def test_colours_are_taken_as_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path = write_dicom(tmp_path / "a.dcm", pixels, "RGB")
    np.testing.assert_array_equal(read_picture(path), pixels)
    assert image_size(path) == open_picture(path).size == (8, 6)
    np.testing.assert_array_equal(open_picture(path).pixels(), pixels)
    path.rename(tmp_path / "no suffix")
    np.testing.assert_array_equal(read_picture(tmp_path / "no suffix"), pixels)  # the content decides


def test_each_frame_has_a_path(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 6), dtype=np.uint8)
    path = write_dicom(tmp_path / "run.dcm", frames, NumberOfFrames=3)
    paths = frames_of(path)
    assert [one.name for one in paths] == ["run.dcm#1", "run.dcm#2", "run.dcm#3"]
    for one, frame in zip(paths, frames, strict=True):
        np.testing.assert_array_equal(read_image(one)[..., 0], frame)
    for wrong, status, words in ((path, "unsupported", "3 frames in one file"), (f"{path}#4", "missing", "3 frames")):
        with pytest.raises(ImageError, match=words) as caught:
            read_picture(wrong)
        assert caught.value.status == status
    assert frames_of(write_dicom(tmp_path / "one.dcm", frames[0])) == [tmp_path / "one.dcm"]
    assert set(find_images(tmp_path)) == {"run", "one"}


def test_what_cannot_be_used_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.zeros((4, 6), np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert frames_of(path) == [path]
    with pytest.raises(ImageError) as caught:
        read_picture(path)
    assert caught.value.status == "unreadable"
    path.write_bytes(whole + b"1.2.840.10008.1.2.1.99")
    with pytest.raises(ImageError, match="deflated"):  # a small file could fill the memory
        read_picture(path)
    assert frames_of(path) == [path]
    path.write_bytes(whole)
    with pytest.raises(ImageError, match="more than the limit of 20"):
        read_picture(path, max_pixels=20)
    monkeypatch.setattr("gbad.data.dicom.find_spec", lambda name: None)
    assert frames_of(path) == [path]
    with pytest.raises(ImageError, match=r"DICOM needs pydicom. Run pip install 'gbad\[dicom\]'"):
        read_picture(path)
