from __future__ import annotations

import copy
import io
import os
import pickle
import pickletools
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import gbad
from gbad.errors import GbadError, PipelineFileError
from gbad.pipeline import GBADPipeline, load
from gbad.storage.plain_data import load_plain, pack, read_pickle, save_plain, unpack
from gbad.training.fitted import FittedGBAD
from gbad.training.plain_settings import to_plain
from gbad.training.run_folder import Run
from gbad.training.settings import Settings

FIELDS = ("logits", "ungated", "losses", "gate_score", "anomalous", "log_gated", "any_threat")

# joblib.load comes first: the file itself says which module it needs.
SCORE = """
import sys, joblib
file, images, plain, strict = sys.argv[1:]
loaded = [(joblib.load(file), plain)]
sys.path.insert(0, "tests")
import gbad, numpy as np, pytest, tiny_backbone
tiny_backbone.install(pytest.MonkeyPatch())
for pipeline, out in [*loaded, (gbad.load(file), strict)]:
    explained = pipeline.explain(np.load(images))
    np.savez(out, **{name: getattr(explained, name) for name in explained.__dataclass_fields__})
"""


def globals_of(path: Path) -> set[str]:
    """Every class and function that a pickle names."""
    texts, found = [], set()
    for opcode, argument, _ in pickletools.genops(path.read_bytes()):
        if opcode.name == "GLOBAL":
            found.add(argument.replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            found.add(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
    return found


class Hostile:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def test_a_new_process_gives_the_same_scores_bit_for_bit(
    trained: Run, pipeline_file: Path, pixels: np.ndarray, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    np.save(tmp_path / "images.npy", pixels)
    arguments = [pipeline_file, tmp_path / "images.npy", tmp_path / "plain.npz", tmp_path / "strict.npz"]
    outcome = run_python("-W", "error", "-c", SCORE, *arguments)
    assert outcome.status == 0, outcome.err
    from_run = FittedGBAD.from_run(trained.folder, trained.data, trained.settings)
    fitted = GBADPipeline.from_fitted(trained.settings, from_run).explain(pixels)
    assert np.ptp(fitted.logits, axis=0).min() > 1e-3
    for name in FIELDS:
        for file in arguments[2:]:
            np.testing.assert_array_equal(np.load(file)[name], getattr(fitted, name), err_msg=f"{file} {name}")


def test_the_file_names_one_class_and_holds_no_module(pipeline_file: Path) -> None:
    assert globals_of(pipeline_file) == {"gbad.pipeline.GBADPipeline"}
    content = pipeline_file.read_bytes()
    assert b"torch.nn" not in content
    assert b"torch._utils" not in content
    assert b"sklearn" not in content
    assert b"numpy.core" not in content
    assert b"numpy._core" not in content


@pytest.mark.parametrize("name", ["phase1/classifier.joblib", "phase2/detector.joblib", "phase3/gate.joblib"])
def test_what_the_phases_leave_names_no_class(trained: Run, name: str) -> None:
    assert globals_of(trained.folder / name) == set()


def test_saving_again_loses_nothing(pipeline: GBADPipeline, pipeline_file: Path, tmp_path: Path) -> None:
    pipeline.save(tmp_path / "again.joblib")
    assert load(tmp_path / "again.joblib").__getstate__() == load(pipeline_file).__getstate__()
    assert os.listdir(tmp_path) == ["again.joblib"]


def test_parameters_survive(pipeline: GBADPipeline, trained: Run) -> None:
    assert to_plain(pipeline.settings) == to_plain(trained.settings)
    assert pipeline.fitted_.training.keys() == {"phase1", "phase2", "phase3"}
    assert pipeline.classes_ == trained.data.classes


def test_an_unfitted_pipeline_can_be_copied_but_not_saved(
    make_pipeline: Callable[..., GBADPipeline], tmp_path: Path
) -> None:
    copied = copy.deepcopy(make_pipeline(epochs=7))
    assert copied.settings.epochs == 7
    assert copied.get_params()["detector__min_steps"] == 60
    with pytest.raises(Exception, match="not fitted"):
        copied.save(tmp_path / "pipeline.joblib")
    assert not list(tmp_path.iterdir())
    joblib.dump(copied, tmp_path / "unfitted.joblib")
    with pytest.raises(PipelineFileError, match="not fitted"):
        load(tmp_path / "unfitted.joblib")


def test_numpy_numbers_and_paths_as_parameters_do_not_spoil_the_file(pipeline: GBADPipeline, tmp_path: Path) -> None:
    own = copy.deepcopy(pipeline)
    own.set_params(epsilon=np.float64(0.001), epochs=np.int64(2), weights=Path("backbone.pth"))
    own.save(tmp_path / "pipeline.joblib")
    loaded = load(tmp_path / "pipeline.joblib")
    found = loaded.settings
    assert (found.epsilon, found.epochs, found.weights) == (0.001, 2, "backbone.pth")


def test_what_cannot_be_loaded_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(GbadError, match="cannot be saved"):
        save_plain({"detector": LogisticRegression()}, tmp_path / "file.joblib")
    with pytest.raises(GbadError, match="cannot be saved"):
        save_plain({"objects": np.array([{}, None])}, tmp_path / "file.joblib")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "array",
    [
        np.float32([[1.5, np.nan], [-0.0, np.inf]]),
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.array(3, np.uint8),
        np.empty((0, 4)),
        np.array([True, False]),
        np.arange(3, dtype=">f8"),
    ],
    ids=["float32", "Fortran order", "no dimension", "no row", "bool", "big-endian"],
)
def test_packed_arrays_come_back_as_they_were(array: np.ndarray) -> None:
    back = unpack(pack({"a": [array], "b": (1, None, "x", 2.5)}))
    assert back["b"] == (1, None, "x", 2.5)
    assert back["a"][0].dtype == array.dtype
    assert back["a"][0].shape == array.shape
    assert back["a"][0].tobytes() == array.tobytes()
    assert back["a"][0].flags.writeable


def test_packed_arrays_of_objects_are_refused() -> None:
    for dtype in ("O", "V8", "O,i8"):
        with pytest.raises(ValueError, match="an array of"):
            unpack({"dtype": dtype, "shape": (1,), "data": b"A" * 16})


def test_hostile_files_are_refused_and_run_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    order = f"touch '{touched}'"
    payloads: dict[str, Any] = {
        "system": Hostile(os.system, order),
        "eval": Hostile(eval, f"open({str(touched)!r}, 'w')"),
        "nested": {"format_version": 1, "settings": [Hostile(os.system, order)]},
        "object array": np.array([Hostile(os.system, order)], dtype=object),
        "process": Hostile(subprocess.Popen, ["touch", str(touched)]),
        "numpy function": Hostile(np.fromfile, "/etc/hostname"),
        "estimator": LogisticRegression(),
        "array": np.arange(3.0),
    }
    for name, payload in payloads.items():
        file = tmp_path / f"{name}.joblib"
        joblib.dump(payload, file)
        with pytest.raises(PipelineFileError, match="refuses") as refusal:
            load(file)
        assert str(file) in str(refusal.value)
    assert not touched.exists()


@pytest.mark.parametrize(
    "module_and_name",
    [
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy", "ndarray"),
        ("gbad.pipeline", "save"),
        ("gbad.pipeline", "GBADPipeline.save"),
        ("gbad.pipeline", "joblib.load"),
        ("gbad", "GBADPipeline"),
        ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 4])
def test_every_other_global_is_refused(module_and_name: tuple[str, str], protocol: int, tmp_path: Path) -> None:
    module, name = (text.encode() for text in module_and_name)
    if protocol == 0:
        content = b"c" + module + b"\n" + name + b"\n."
    else:
        content = b"\x80\x04\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(name)]) + name + b"\x93."
    (tmp_path / "file.joblib").write_bytes(content)
    with pytest.raises(PipelineFileError, match="refuses"):
        load(tmp_path / "file.joblib")


def test_the_one_allowed_class_cannot_be_misused(tmp_path: Path) -> None:
    """What a file hands to GBADPipeline is data: strange states and calls end in an error."""
    states: list[Any] = [
        None, 3, [], {}, {"format_version": 1}, {"format_version": 1, "settings": 3},
        {"format_version": 1, "settings": {"unknown": 1}}, {"format_version": 1, "settings": {"detector": "os.system"}},
        {"format_version": 1, "settings": to_plain(Settings()), "fitted": {}},
        {"__class__": 1, "format_version": 1, "settings": {}}, ({"format_version": 1}, {"save": 1}),
    ]  # fmt: skip
    for state in states:
        content = io.BytesIO()
        pickler = pickle._Pickler(content, 4)
        pickler.proto = 4
        content.write(b"\x80\x04")
        pickler.save(GBADPipeline)
        content.write(b")\x81")
        pickler.save(state)
        pickler.framer.end_framing()
        content.write(b"b.")
        (tmp_path / "file.joblib").write_bytes(content.getvalue())
        with pytest.raises(PipelineFileError, match=r"file\.joblib"):
            load(tmp_path / "file.joblib")
    (tmp_path / "file.joblib").write_bytes(b"cgbad.pipeline\nGBADPipeline\n(S'x'\ntR.")  # GBADPipeline("x")
    with pytest.raises(PipelineFileError, match="damaged"):
        load(tmp_path / "file.joblib")


def test_damaged_files_are_refused_by_name(pipeline_file: Path, tmp_path: Path) -> None:
    whole = pipeline_file.read_bytes()
    random = np.random.default_rng(0)
    contents = {
        "empty": b"",
        "random": random.bytes(10_000),
        "text": b"not a pipeline\n",
        "first byte": whole[:1],
        "half": whole[: len(whole) // 2],
        "one byte short": whole[:-1],
        "zip": b"PK\x03\x04" + random.bytes(100),
        "memo of 64 GB": b"\x80\x04Nr\xff\xff\xff\xffh\x00.",
        "long of 2 GB": b"\x80\x04\x8b\xff\xff\xff\x7f.",
        "bytes of 2 ** 62": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.",
    }
    for name, content in contents.items():
        file = tmp_path / f"{name}.joblib"
        file.write_bytes(content)
        with pytest.raises(PipelineFileError) as refusal:
            load(file)
        assert str(file) in str(refusal.value)


def doubled(levels: int, make: bytes) -> bytes:
    """Opcodes that put the object on the stack into a container twice, again and again."""
    return b"".join([b"q" + bytes([level]) + b"0" + make.replace(b"?", bytes([level])) for level in range(levels)])


NESTED = {
    "list in itself": (b"\x80\x04]q\x00h\x00a.", "the same list in several places"),
    "lists that double": (b"\x80\x04]" + doubled(60, b"]h?ah?a") + b".", "the same list in several places"),
    "tuples that double": (b"\x80\x04K\x01\x85" + b"2\x86" * 60 + b".", "the same tuple in several places"),
    "bytes that double": (b"\x80\x04C\x04abcd2\x86.", "the same bytes in several places"),
    "deep lists": (b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".", "more than 100 levels"),
    "key that doubles": (b"\x80\x04}K\x01\x85" + b"2\x86" * 60 + b"K\x01s.", "a tuple as a key"),
    "keys that double": (b"\x80\x04}(K\x01\x85" + b"2\x86" * 60 + b"K\x01u.", "a tuple as a key"),
    "dict of a deep key": (b"\x80\x04(N" + b"\x85" * 100_000 + b"Nd.", "a tuple as a key"),
    "set that doubles": (b"\x80\x04\x8f(K\x01\x85" + b"2\x86" * 60 + b"\x90.", "a bytearray or a set"),
    "frozen set that doubles": (b"\x80\x04(K\x01\x85" + b"2\x86" * 60 + b"\x91.", "a bytearray or a set"),
    "bytearray": (b"\x80\x05\x96" + (2**28).to_bytes(8, "little") + b".", "a bytearray or a set"),
}


@pytest.mark.parametrize("name", NESTED)
def test_a_few_bytes_ask_for_neither_hours_nor_gigabytes(name: str, tmp_path: Path) -> None:
    content, message = NESTED[name]
    file = tmp_path / "file.joblib"
    file.write_bytes(content)
    with pytest.raises(PipelineFileError, match=message) as refusal:
        load_plain(file)
    assert str(file) in str(refusal.value)
    # The same as the state of a pipeline, and in it.
    for state in (content[2:-1], b"}\x8c\x0eformat_version" + content[2:-1] + b"s"):
        file.write_bytes(content[:2] + b"cgbad.pipeline\nGBADPipeline\n)\x81" + state + b"b.")
        with pytest.raises(PipelineFileError, match=f"damaged.*{message}"):
            load(file)


def test_what_python_shares_by_itself_may_stand_in_several_places(tmp_path: Path) -> None:
    content = {"empty": ((), (), [], []), "arrays": [np.array([True]), np.array([True]), np.zeros(0), np.zeros(0)]}
    save_plain(content, tmp_path / "file.joblib")
    loaded = load_plain(tmp_path / "file.joblib")
    assert loaded["empty"] == content["empty"]
    assert [array.tolist() for array in loaded["arrays"]] == [[True], [True], [], []]


def small_file(pipeline: GBADPipeline, path: Path) -> bytes:
    """A file of a pipeline without weights, so that most of its bytes are structure."""
    small = copy.deepcopy(pipeline)
    small.fitted_ = replace(small.fitted_, classifier={**small.fitted_.classifier, "arrays": {}})
    small.save(path)
    return path.read_bytes()


def outcome_of(read: Callable[[Path], object], content: bytes, path: Path) -> str:
    path.write_bytes(content)
    try:
        found = read(path)
    except PipelineFileError:
        return "refused"
    return str(joblib.hash(found.__getstate__())) if isinstance(found, GBADPipeline) else "no pipeline"


def test_flipped_bytes_are_refused_and_never_raise_anything_else(pipeline: GBADPipeline, tmp_path: Path) -> None:
    whole = np.frombuffer(small_file(pipeline, tmp_path / "small.joblib"), np.uint8)
    known = outcome_of(read_pickle, whole.tobytes(), tmp_path / "small.joblib")
    random = np.random.default_rng(1)
    for _ in range(300):
        content = whole.copy()
        where = random.integers(0, len(content) if random.random() < 0.5 else 400, 3)
        content[where] = random.integers(0, 256, 3)
        outcome = outcome_of(read_pickle, content.tobytes(), tmp_path / "flipped.joblib")
        assert outcome in ("refused", "no pipeline", known)


def test_a_single_flipped_bit_is_noticed(pipeline: GBADPipeline, pipeline_file: Path, tmp_path: Path) -> None:
    """Also by joblib.load, for bits of the arrays; other bits may ask it for another class."""
    whole, random = pipeline_file.read_bytes(), np.random.default_rng(2)
    for at in random.integers(200, len(whole) - 200, 40).tolist():
        content = whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1 :]
        assert outcome_of(load, content, tmp_path / "flipped.joblib") == "refused"
    weights = max(pipeline.fitted_.classifier["arrays"].values(), key=lambda array: array.nbytes)
    at = whole.index(weights.tobytes()) + weights.nbytes // 2
    (tmp_path / "flipped.joblib").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(PipelineFileError, match="does not have the digest that was written"):
        joblib.load(tmp_path / "flipped.joblib")


def test_a_digest_cannot_be_left_out_by_damage(
    pipeline: GBADPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = pipeline.__getstate__()
    for change in ({"format_version": 1}, {"format_version": 2}, {"digest": None}, {"digest": "0" * 32}):
        monkeypatch.setattr(GBADPipeline, "__getstate__", lambda self, change=change: state | change)
        joblib.dump(pipeline, tmp_path / "file.joblib")
        for read in (load, joblib.load):
            with pytest.raises(PipelineFileError, match="digest"):
                read(tmp_path / "file.joblib")
    monkeypatch.setattr(
        GBADPipeline, "__getstate__", lambda self: {key: value for key, value in state.items() if key != "digest"}
    )
    joblib.dump(pipeline, tmp_path / "file.joblib")
    with pytest.raises(PipelineFileError, match="digest"):
        load(tmp_path / "file.joblib")


@pytest.mark.parametrize("name", ["phase1/classifier.joblib", "phase2/detector.joblib", "phase3/gate.joblib"])
def test_a_zeroed_block_in_what_a_phase_leaves_is_noticed(trained: Run, name: str, tmp_path: Path) -> None:
    content = (trained.folder / name).read_bytes()
    at = len(content) // 2
    (tmp_path / "file.joblib").write_bytes(content[:at] + bytes(64) + content[at + 64 :])
    with pytest.raises(PipelineFileError, match=r"file\.joblib: damaged"):
        load_plain(tmp_path / "file.joblib")
    for size in (0, 10, at, len(content) - 1):
        (tmp_path / "file.joblib").write_bytes(content[:size])
        with pytest.raises(PipelineFileError, match=r"file\.joblib: damaged"):
            load_plain(tmp_path / "file.joblib")


def test_what_a_phase_left_before_there_were_digests_is_read(tmp_path: Path) -> None:
    joblib.dump(pack({"a": np.arange(3)}), tmp_path / "file.joblib")
    assert load_plain(tmp_path / "file.joblib")["a"].tolist() == [0, 1, 2]


def test_other_files_are_refused(pipeline: GBADPipeline, trained: Run, tmp_path: Path) -> None:
    with pytest.raises(PipelineFileError, match="holds a dict, not a pipeline"):
        load(trained.folder / "phase1" / "classifier.joblib")
    joblib.dump(pipeline, tmp_path / "compressed.joblib", compress=3)
    with pytest.raises(PipelineFileError, match=r"compressed\.joblib.*damaged, or not a gbad file"):
        load(tmp_path / "compressed.joblib")
    with pytest.raises(PipelineFileError, match=r"no such file.*gbad train"):
        load(tmp_path / "nothing.joblib")
    with pytest.raises(PipelineFileError, match="cannot be read"):
        load(tmp_path)
    joblib.dump(np.zeros(3), tmp_path / "classifier.joblib")
    with pytest.raises(PipelineFileError, match=r"classifier.*refuses"):
        load_plain(tmp_path / "classifier.joblib")


def test_a_newer_format_is_refused(pipeline: GBADPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gbad.pipeline.FORMAT", 4)
    pipeline.save(tmp_path / "newer.joblib")
    monkeypatch.undo()
    for read in (gbad.load, joblib.load):
        with pytest.raises(
            PipelineFileError, match="format 4 of another version of gbad; this one reads formats 1 to 3.*Install"
        ):
            read(tmp_path / "newer.joblib")


def test_a_file_from_before_the_first_release_is_refused_by_its_format(
    pipeline: GBADPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = {"format_version": 1, "params": {}, "classes": [], "training": {}}
    monkeypatch.setattr(GBADPipeline, "__getstate__", lambda self: older)
    pipeline.save(tmp_path / "older.joblib")
    monkeypatch.undo()
    with pytest.raises(PipelineFileError, match="format 1 of another version of gbad"):
        gbad.load(tmp_path / "older.joblib")


def test_saving_to_a_full_disk_keeps_the_older_file(
    pipeline: GBADPipeline, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    (tmp_path / "pipeline.joblib").write_bytes(b"older")
    with full_disk(100_000), pytest.raises(GbadError, match=r"pipeline\.joblib: cannot be written \(File too large\)"):
        pipeline.save(tmp_path / "pipeline.joblib")
    assert (tmp_path / "pipeline.joblib").read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["pipeline.joblib"]
