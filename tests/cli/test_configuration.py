"""``gbad train --config``, ``--print-config`` and ``--set``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gbad.errors import GbadError
from gbad.phase2_anomaly import BiGANDetector
from gbad.phase2_anomaly.images.vae import VAEDetector
from gbad.phase3_gate import ThreatGate
from gbad.training.plain_settings import to_plain
from gbad.training.settings import Settings, options
from gbad.training.settings_file import changed_by, merged, read_assignments, read_settings, settings_text

Command = Callable[..., Any]


@pytest.fixture
def settings_of(
    gbad_command: Command, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """The settings of the run that ``gbad train`` begins with some options."""
    for phase in (1, 2, 3):
        monkeypatch.setattr(f"gbad.training.phases.fit_phase{phase}", lambda *args, **options: None)
    runs = []

    def train(*arguments: object) -> dict[str, Any]:
        run = tmp_path / f"run{len(runs)}"
        runs.append(run)
        outcome = gbad_command("train", dataset, "--out", run, "--stop-after", 1, *arguments)
        assert outcome.status == 0, outcome.err
        found: dict[str, Any] = json.loads((run / "run.json").read_text())["settings"]
        return found

    return train


def test_what_is_printed_is_what_is_read(
    settings_of: Callable[..., dict[str, Any]], gbad_command: Command, dataset: Path, tmp_path: Path
) -> None:
    chosen = (
        "--backbone", "resnet18", "--no-pretrained", "--prevalence", 0.01, "--image-detector", "vae", "--set",
        "detector.min_steps=300", "--set", "gate.C=7.5", "--set", "gate.max_rows=none", "--set", "device=cpu", "--seed",
        4,
    )  # fmt: skip
    printed = gbad_command("train", dataset, *chosen, "--print-config")
    assert (printed.status, printed.err) == (0, "")
    path = tmp_path / "run.toml"
    path.write_text(printed.out)
    expected = settings_of(*chosen)
    assert settings_of("--config", path) == expected
    assert (expected["backbone"], expected["prevalence"], expected["device"]) == ("resnet18", 0.01, "cpu")
    assert expected["detector"]["params"]["min_steps"] == 300
    assert (expected["gate"]["C"], expected["gate"]["max_rows"]) == (7.5, None)
    assert expected["image_detector"]["params"]["image_size"] == 64
    for name in options():
        assert f"\n{name} = " in printed.out or f"\n# {name} is not set" in printed.out or f"[{name}]" in printed.out


def test_options_have_the_last_word_over_the_file_and_the_file_over_the_preset(
    settings_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'backbone = "resnet18"\nepochs = 3\nviews = 2\npretrained = false\n'
        '[image_detector]\nkind = "vae"\nimage_size = 32\n'
    )
    found = settings_of("--config", path, "--preset", "paper", "--epochs", 5, "--image-detector-epochs", 2)
    assert (found["backbone"], found["epochs"], found["views"], found["pretrained"]) == ("resnet18", 5, 2, False)
    assert found["suppression"] == "hard"  # of the preset
    params = found["image_detector"]["params"]
    assert (params["image_size"], params["epochs"]) == (32, 2)
    assert settings_of("--config", path, "--image-detector", "ganomaly")["image_detector"]["kind"] == "ganomaly"


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("epochs = ", (), "run.toml: not valid TOML"),
        ("colour = 3", (), "run.toml: unknown settings colour; choose from backbone"),
        ("[epochs]\nx = 1", (), "epochs has no parameters of its own"),
        ("epochs = -1", (), "--epochs must be a whole number from 0, not -1"),
        ("[detector]\nsize = 1", (), "detector has no size; choose from"),
        ("[image_detector]\nepochs = 1", (), "image_detector is not set"),
        ("", ("--set", "epochs"), "write NAME=VALUE"),
        ("", ("--set", "biggan.epochs=3"), "--set: unknown settings biggan"),
        ("", ("--set", "epochs=5", "--set", "epochs.x=1"), "--set: epochs has no parameters of its own"),
        ("", ("--set", "image_detector=[1]", "--set", "image_detector.epochs=2"), "must be one of ganomaly, "),
        ("[image_detector]\nkind = 3\nepochs = 2", (), "must be one of ganomaly, "),
        ("gate = 3\n", ("--set", "gate.C=2"), "must be a table of parameters, such as gate.C=1, not 3"),
        ("", ("--set", "weight_decay=often"), "weight_decay must be a number from 0, not 'often'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    content: str, arguments: tuple[str, ...], message: str, gbad_command: Command, dataset: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(content)
    outcome = gbad_command("train", dataset, "--out", tmp_path / "run", "--config", path, *arguments)
    assert outcome.status == 1
    assert message in outcome.err
    assert not (tmp_path / "run").exists()


def test_every_setting_of_python_can_be_set() -> None:
    """By its name, whatever its kind; what is printed gives the same settings."""
    detector, gate = BiGANDetector(hidden_sizes=(16, 8), random_state=3), ThreatGate(C=3.0, max_rows=None)
    settings = Settings(
        chr_threshold=0.5, frozen_stages=2, frozen_norm=False, weight_decay=1e-5, ema_decay=0.0, device="cpu",
        detector=detector, image_detector=VAEDetector(image_size=32), gate=gate, weights='a "quoted" pfad-ü.pth',
        chr_mask="none", alpha=0.25,
    )  # fmt: skip
    text = settings_text(settings)
    assert tomllib.loads(text)["chr_mask"] == "none"
    path = Path("run.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gbad.training.settings_file.read_regular", lambda _: text.encode())
        read = changed_by(Settings(), read_settings(path))
    assert to_plain(read) == to_plain(settings)
    given = read_assignments(["chr_mask=none", "alpha=none", "frozen_norm=false", "detector=gaussian", "epochs=2"])
    assert given == {
        "chr_mask": "none",
        "alpha": None,
        "frozen_norm": False,
        "detector": {"kind": "gaussian"},
        "epochs": 2,
    }
    for texts in (["bigan.epochs=5"], ["detector=bigan", "detector.epochs=5"], ["bigan.epochs=5", "detector=bigan"]):
        assert read_assignments(texts) == {"detector": {"kind": "bigan", "epochs": 5}}
    for other in ("detector=gaussian", "gaussian.max_components=5"):
        with pytest.raises(GbadError, match="detector is bigan already"):
            read_assignments(["bigan.epochs=5", other])
    assert merged({"detector": {"kind": "bigan", "min_steps": 3}}, {"detector": {"epochs": 5}}) == {
        "detector": {"kind": "bigan", "min_steps": 3, "epochs": 5}
    }
    assert gate.C == changed_by(settings, {"gate": {"C": 9.0}}).gate.C - 6.0  # type: ignore[union-attr]
