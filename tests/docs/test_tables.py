"""Tables of the documents against the data, cell by cell.

``<!-- table: NAME ARGUMENTS -->`` in front of a table names a function below. It gives the cells of each row behind the
first, by that first cell; None for a cell that is text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *RESULTS.rglob("README.md")]
CLASSES = ["Gun", "Knife", "Wrench", "Pliers", "Scissors"]
SUBSETS = [10, 100, 1000]

Cells = dict[str, list[str | None]]

METHODS = {
    "CNN on the natural list": "cnn", "CNN, balanced": "cnn_balanced", "CNN + FPN, balanced": "cnn_balanced_fpn",
    "CHR on the natural list": "chr", "CHR, balanced": "chr_balanced", "GBAD as in the paper": "gbad_paper",
    "GBAD's classifier alone": "gbad_ungated", "GBAD without gate": "gbad_heads", "GBAD": "gbad",
    "GBAD with class heads, no gate": "gbad_heads", "GBAD without second look": "gbad_first_look",
    "GBAD's classifier alone, boxes": "gbad_boxes_ungated",
    "GBAD without second look, boxes": "gbad_boxes_first_look", "GBAD, boxes": "gbad_boxes",
    "paper's settings: oracle gate": "gbad_paper_oracle_gate",
    "paper's settings: random gate": "gbad_paper_random_gate", "GBAD: oracle gate": "gbad_oracle_gate",
    "GBAD: random gate": "gbad_random_gate",
    "CNN, fresh negatives (with or without heads, which got no share)": "cnn_fresh",
}  # fmt: skip
"""How the documents call the rows of the benchmark."""


def with_interval(value: float, low: float, high: float, decimals: int = 1) -> str:
    if math.isnan(low):
        return f"{value:.{decimals}f}"
    return f"{value:.{decimals}f} ({low:.{decimals}f} to {high:.{decimals}f})"


def read_json(*names: str) -> Any:
    return json.loads(RESULTS.joinpath(*names).read_text())


@cache
def estimates(folder: str) -> pd.DataFrame:
    table = pd.read_csv(RESULTS / folder / "estimates.csv").set_index(["row", "class", "subset"])
    return 100 * table[["value", "low", "high"]]


def estimate(folder: str, row: str, name: str = "mean", subset: int = 10) -> str:
    return with_interval(*estimates(folder).loc[(row, name, subset)])


def map_(folder: str) -> Cells:
    rows = {label: row for label, row in METHODS.items() if (row, "mean", 10) in estimates(folder).index}
    return {label: [estimate(folder, row, subset=subset) for subset in SUBSETS] for label, row in rows.items()}


def differences(folder: str) -> Cells:
    rows = [row for row in estimates(folder).index.unique("row") if " - " in row]
    return {row: [estimate(folder, row, subset=subset) for subset in SUBSETS] for row in rows}


def earlier() -> Cells:
    def three(folder: str, row: str) -> str:
        table = estimates(folder)["value"]
        return " / ".join(f"{table[row, 'mean', s]:.1f}" for s in SUBSETS) if (row, "mean", 10) in table else ""

    folders = ["benchmark_first", "benchmark"]
    cells: Cells = {label: [three(folder, row) for folder in folders] for label, row in METHODS.items()}
    f1 = [next(t for t in read_json(f, "summary.json")[key] if "macro F1" in str(t)) for f, key in
          zip(folders, ("bars", "targets"), strict=True)]  # fmt: skip
    return cells | {"macro F1 of any threat, GBAD": [f"{target['value']:.1f}" for target in f1]}


def projected() -> Cells:
    table = estimates("projected")["value"]
    cells: Cells = {}
    for label, row in METHODS.items() | {(row, row) for row in table.index.unique("row") if " - " in row}:
        if (row, "mean", 10) in table:
            cells[label] = [estimate("projected", row), *(f"{table[row, name, 10]:.1f}" for name in CLASSES[:3])]
    return cells | {"chance": [None] * 4}


def demo() -> Cells:
    found = read_json("demo", "seed12.json")
    low = found["intervals"]
    cells: Cells = {
        name: [
            str(found["n_positive"][name]),
            *(f"{100 * found[part]['per_class_ap'][name]:.1f}" for part in ("ungated", "gbad")),
        ]
        for name in CLASSES
    }
    maps = [with_interval(*(100 * np.array([found[part]["map"], *low[part]["map"]]))) for part in ("ungated", "gbad")]
    least, most = 100 * np.array(low["gbad - ungated"]["map"])
    return cells | {
        "mAP, seed 12 (95 % interval)": ["", *maps],
        "GBAD − classifier alone, 95 % interval": ["", "", f"seed 12: {least:.1f} to {most:.1f}"],
    }


def model() -> Cells:
    found = read_json("simulated_bags_model.json")
    lists = [found["simulated"], found["projected"]]

    def per_cent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.1f}"

    cells: Cells = {name: [per_cent(one["gbad"]["per_class_ap"].get(name)) for one in lists] for name in CLASSES}
    for label, part in (("mAP (95 % interval)", "gbad"), ("mAP of the first look", "first_look")):
        cells[label] = [
            with_interval(*(100 * np.array([one[part]["map"], *one["intervals"][part]["map"]]))) for one in lists
        ]
    cells["any threat, ROC-AUC"] = [f"{one['any_threat']['roc_auc']:.3f}" for one in lists]
    cells["images called unfamiliar"] = [per_cent(one["unfamiliar"]) for one in lists]
    return cells


def starts() -> Cells:
    table = pd.read_csv(RESULTS / "starts" / "starts.csv")
    means = table[table["seed"] == "mean"].set_index(["method", "start", "subset"])[["map", "low", "high"]]
    labels = {
        "from ImageNet": "ImageNet", "from simulated bags": "simulated-bags", "difference": "simulated-bags - ImageNet",
    }  # fmt: skip
    cells: Cells = {}
    for label, method in (("GBAD", "gbad"), ("first look", "gbad_first_look")):
        for text, start in labels.items():
            values = [100 * means.loc[method, start, subset].to_numpy() for subset in SUBSETS]
            cells[f"{label}, {text}"] = [with_interval(*one) for one in values]
    return cells


PHASE_1 = {
    "pyramid of 64, 6 epochs": "fpn_width=64", "pyramid of 64, 3 epochs": "fpn_width=64 epochs=3",
    "pyramid of 256, 2 epochs": "fpn_width=256 epochs=2",
    "pyramid of 64, 6 epochs, four of them at 128 px": "fpn_width=64 small_epochs=0.67",
}  # fmt: skip


def phase1_variants() -> Cells:
    table = pd.read_csv(RESULTS / "phase1_variants" / "variants.csv").set_index(["variant", "seed"])["validation_map"]
    return {
        label: [f"{100 * table[name, seed]:.1f}" if (name, seed) in table.index else "–" for seed in (0, 1)]
        for label, name in PHASE_1.items()
    }


def pyramid_forms() -> Cells:
    table = pd.read_csv(RESULTS / "pyramid_forms" / "variants.csv").set_index(["case", "form"]).sort_index()
    shares = {"mAP": table["validation_map"], "points at the threat": table["peaks_in_box"] / table["threats"]}
    return {
        f"{case}: {what}": [
            ", ".join(f"{100 * value:.1f}" for value in share.loc[[(case, form)]]) for form in ("full", "light")
        ]
        for case in table.index.unique("case") if case != DEMONSTRATION for what, share in shares.items()
    }  # fmt: skip


DEMONSTRATION = "simulated bags of the demonstration"
PARTS_OF_LIGHT = {
    "full, 64 channels": "full", "full, 256 channels": "full, 256 channels", "separable alone": "separable alone",
    "halved alone": "halved alone", "light: separable and halved": "light",
}  # fmt: skip


def pyramid_parts() -> Cells:
    table = pd.read_csv(RESULTS / "pyramid_forms" / "variants.csv")
    table = table[table["case"] == DEMONSTRATION].set_index("form").sort_values("seed")
    shares = [table["validation_map"], table["peaks_in_box"] / table["threats"]]
    return {
        label: [", ".join(f"{100 * value:.1f}" for value in share.loc[[form]]) for share in shares]
        for label, form in PARTS_OF_LIGHT.items()
    }


def speed(name: str) -> Cells:
    """What a script of benchmarks/ measured, from results/speed/NAME.csv: what is asked, median and spread, verdict."""
    cells: Cells = {}
    for row in pd.read_csv(RESULTS / "speed" / f"{name}.csv", keep_default_na=False).itertuples():
        bounds = [f"at least {row.at_least}" if row.at_least else "", f"at most {row.at_most}" if row.at_most else ""]
        median, *spread = (
            f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in (row.median, row.lowest, row.highest)
        )
        asked, value = " and ".join(filter(None, bounds)) or "–", f"{median} ({' to '.join(spread)})"
        cells[str(row.measured)] = [asked, value, row.unit, row.verdict or "–"]
    return cells


def student(sample: np.ndarray) -> tuple[float, float, float]:
    half = stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample))
    return sample.mean(), sample.mean() - half, sample.mean() + half


@cache
def variants() -> pd.DataFrame:
    """Give mAP by run, and by weight and variant; of both spellings of the paper's gate."""
    table = pd.read_csv(RESULTS / "ablation" / "phases_2_and_3.csv")
    table["variant"] = table["variant"].str.replace("letter's", "paper's")
    return table.pivot(index="run", columns="variant")


def ablation() -> Cells:
    table = variants()
    return {
        name: [with_interval(*student(table[str(s), name].to_numpy())) for s in SUBSETS]
        for name in table.columns.unique("variant")
    }


def second_look(name: str) -> Cells:
    """MAP of each variant at each ratio, mean of the runs, from results/second_look/NAME.csv."""
    table = pd.read_csv(RESULTS / "second_look" / f"{name}.csv")
    mean = 100 * table.pivot_table("mAP", "variant", "ratio")
    first = 100 * table.groupby("ratio")["mAP, first look"].mean()
    cells: Cells = {variant: [f"{mean.loc[variant, ratio]:.1f}" for ratio in SUBSETS] for variant in mean.index}
    return cells | {"first look alone": [f"{first[ratio]:.1f}" for ratio in SUBSETS]}


def backbones() -> Cells:
    rows = {"CNN, balanced": "cnn_balanced", "CHR, balanced": "chr_balanced",
            "GBAD as in the paper (`--preset paper`)": "gbad_paper"}  # fmt: skip
    return {label: [estimate("backbones", row)] for label, row in rows.items()}


def pixels() -> Cells:
    table = pd.read_csv(RESULTS / "second_look" / "projected_640" / "results.csv")
    first = table[(table["method"] == "gbad") & (table["class"] == "mean") & (table["seed"] == 0)]
    of_seed = 100 * first.set_index("subset")["ap"]
    return {
        "first look of 320 px": [estimate("second_look/pixels", "gbad", subset=subset) for subset in SUBSETS],
        "first look of 192 px, and the second": [f"{of_seed[subset]:.1f}" for subset in SUBSETS],
    }


def sixray1000() -> Cells:
    """SIXray1000 on the one list of the benchmark, and on ten."""
    folders = ["second_look/simulated_512", "second_look/sixray1000_lists"]
    labels = METHODS | {row: row for row in estimates(folders[0]).index.unique("row") if " - " in row}
    return {
        label: [estimate(folder, row, subset=1000) for folder in folders]
        for label, row in labels.items()
        if (row, "mean", 1000) in estimates(folders[0]).index
    }


def curve() -> Cells:
    """Sizes of the first look: minutes of training, milliseconds of use, mAP of the validation part."""
    table = pd.read_csv(RESULTS / "second_look" / "curve.csv")
    cells: Cells = {}
    for _, row in table.iterrows():
        name = "plain CNN" if row["look"] == "one look" else f"GBAD, {row['look']}"
        found = [with_interval(*(row[f"mAP {s}{end}"] for end in ("", " low", " high"))) for s in SUBSETS]
        cells[f"{name}, {row['size']} px"] = [
            f"{row['training minutes']:.0f}", f"{row['milliseconds an image']:.0f}", *found
        ]  # fmt: skip
    return cells


LEVERS = {
    "class heads on all threat-free rows": ("class heads", "classifier alone"),
    "a heads' share for each class, over one for all": ("class heads, a share each", "class heads"),
    "the paper's hard gate": ("bigan: paper's hard gate", "classifier alone"),
    "hard gate, monotone, on held-out losses": ("bigan: hard gate, held-out", "classifier alone"),
    "soft gate": ("bigan: soft gate", "classifier alone"),
    "soft gate that also sees the maximum": ("bigan+maximum: soft gate", "classifier alone"),
    "all inputs, a soft gate for each class, over the heads": (
        "bigan+neighbours+maximum: class heads, a soft gate each", "class heads",
    ),
}  # fmt: skip


def levers() -> Cells:
    table = variants()
    cells: Cells = {}
    for label, (first, second) in LEVERS.items():
        pairs = [student((table[str(s), first] - table[str(s), second]).to_numpy()) for s in SUBSETS]
        cells[label] = [*(f"{m:+.1f} ({low:.1f} to {high:.1f})" for m, low, high in pairs), None]
    others = "soft gate, isolation forest or nearest neighbours in the BiGAN's place"
    gains = []
    for s in SUBSETS:
        mean = table[str(s)].mean()
        found = sorted({f"{mean[f'{name}: soft gate'] - mean['classifier alone']:+.1f}" for name in
                        ("isolation_forest", "neighbours")})  # fmt: skip
        gains.append(" to ".join(found))
    return cells | {others: [*gains, None]}


def trials() -> Cells:
    table = pd.read_csv(RESULTS / "trials.csv").query("page == 'training'").pivot(index="what", columns="measure")
    return {
        what: [*row["value"][["classifier", "with class heads"]], None] for what, row in table.iterrows()
    }  # fmt: skip


def shortcuts(name: str = "shortcuts") -> Cells:
    table = pd.read_csv(RESULTS / "simulator" / f"{name}.csv").set_index("feature")
    return {
        feature: [f"{row['AUC']:.3f}", f"{row['95 % low']:.3f} to {row['95 % high']:.3f}"]
        for feature, row in table.iterrows()
    }


def statistics() -> Cells:
    table = pd.read_csv(RESULTS / "simulator" / "statistics.csv").set_index("statistic").drop(columns="value").dropna()
    return {name: [f"{value:.3f}" for value in row] for name, row in table.iterrows()}


def by_seed(name: str) -> dict[str, Any]:
    return {seed: found for seed, found in read_json("simulator", f"{name}.json").items() if seed.startswith("seed")}


def difficulty() -> Cells:
    cells: Cells = {}
    for subset in SUBSETS:
        found = [run["simulated"][str(subset)] for run in by_seed("difficulty").values()]
        maps = [run["map"] for run in found]
        cells[f"{subset:,}"] = [
            ", ".join(map(str, maps)), f"{np.mean(maps):.1f}",
            *(f"{np.mean([run['ap'][name] for run in found]):.1f}" for name in CLASSES),
            str(found[0]["published_map_resnet34"]),
        ]  # fmt: skip
    return cells


def transfer(name: str) -> Cells:
    def numbers(run: dict[str, Any]) -> list[float]:
        real = run["real"]
        found = [*(real["ap"][threat] for threat in CLASSES[:3]), real["macro_ap"]]
        if name == "larger_images":
            found.append(real["relative_macro_ap"])
        if name == "strong_augmentation":
            found += [run["simulated"][str(subset)]["map"] for subset in SUBSETS]
        return found

    def cells(row: np.ndarray) -> list[str | None]:
        printed = [f"{number:.1f}" for number in row]
        return (
            [*printed[:4], *printed[4:5]] if name != "strong_augmentation" else [*printed[:4], " / ".join(printed[4:])]
        )

    rows = {seed: np.array(numbers(run)) for seed, run in by_seed(name).items()}
    chance = list(by_seed(name).values())[0]["real"]["chance"]
    shares = [*chance.values(), np.mean(list(chance.values()))]
    return {
        **{seed: cells(row) for seed, row in rows.items()},
        "mean": cells(np.mean(list(rows.values()), 0)),
        "chance": [f"{share:.1f}" for share in shares],
    }


@cache
def detectors(folder: str) -> dict[str, pd.Series]:
    """Measures of each detector: a mean for each class over the seeds, by mode and metric."""
    table = pd.read_csv(RESULTS / "detectors" / folder / "results.csv")
    means = table.groupby(["detector", "mode", "metric", "class"])["value"].mean()
    return {name: means[name] for name in table["detector"].unique()}


def milliseconds(folder: str, name: str) -> float:
    table = pd.read_csv(RESULTS / "detectors" / folder / "results.csv").query("metric == 'ms_batch_64'")
    return float(table[table["detector"] == name]["value"].median())


def fashion() -> Cells:
    def row(folder: str, name: str) -> list[str | None]:
        found = detectors(folder)[name]
        clean = 100 * found["clean", "roc_auc"]
        return [
            f"{clean.mean():.1f}", f"{clean.min():.0f} to {clean.max():.0f}", str((clean > 60).sum()),
            *(f"{100 * found['paper', metric].mean():.1f}" for metric in ("roc_auc", "roc_auc_shuffled")),
            f"{found['both', 'parameters'].mean():,.0f}", f"{milliseconds(folder, name):.2f}",
        ]  # fmt: skip

    cells = {name: row("fashion_mnist", name) for name in detectors("fashion_mnist")}
    for name in detectors("fashion_mnist_paper_rates"):
        cells[f"{name} at its paper's learning rate"] = row("fashion_mnist_paper_rates", name)
    control = 100 * detectors("fashion_mnist")["vae"]["control", "roc_auc"]
    spread = f"{control.min():.0f} to {control.max():.0f}"
    return cells | {"no network": [f"{control.mean():.1f}", spread, str((control > 60).sum()), "", "", "", ""]}


def published(folder: str, longer: str) -> Cells:
    """Over three classes and the seeds; the discriminator's loss is the mean of all trainings."""
    cells = published_rows(folder)
    control = 100 * detectors(folder)["ganomaly"]["control", "roc_auc"]
    no_network: Cells = {
        "no network": [f"{control.mean():.1f}", f"{control.min():.0f} to {control.max():.0f}", "", "", ""]
    }
    return cells | {"panda_gan, 60 epochs": published_rows(longer)["panda_gan"]} | no_network


def published_rows(folder: str) -> Cells:
    table = pd.read_csv(RESULTS / "detectors" / folder / "results.csv")
    losses = pd.read_csv(RESULTS / "detectors" / folder / "losses.csv").query("loss == 'discriminator'")
    cells: Cells = {}
    for name in table["detector"].unique():
        rows = table[table["detector"] == name].set_index(["mode", "metric", "seed", "class"]).sort_index()
        own = 100 * rows["value"]
        clean = own["clean", "roc_auc"]
        classes = clean.groupby("class").mean()
        curve = losses[losses["detector"] == name].groupby("epoch")["value"].mean()
        cells[name] = [
            with_interval(*student(clean.groupby("seed").mean().to_numpy())),
            f"{classes.min():.0f} to {classes.max():.0f}",
            *(f"{own['paper', metric].mean():.1f}" for metric in ("roc_auc", "roc_auc_shuffled")),
            f"{curve.loc[1]:.3f}, {curve.loc[2]:.3f}, {curve.iloc[-1]:.3f}",
        ]
    return cells


def bags() -> Cells:
    """Intervals stand in the table that the benchmark wrote; the rest is computed from its rows."""
    lines = (RESULTS / "detectors" / "simulated_bags" / "table.md").read_text().splitlines()
    intervals = {}
    for line in lines:
        name, *rest = [cell.strip() for cell in line.strip("|").split("|")]
        intervals.setdefault(name, rest)

    def per_cent(interval: str) -> str:
        return " to ".join(f"{100 * float(bound):.1f}" for bound in interval.split(" to "))

    def pixels(found: pd.Series, metric: str) -> str:
        known = ("clean", metric) in found.index.droplevel("class")
        return f"{100 * found['clean', metric].mean():.1f}" if known else ""

    cells: Cells = {}
    found = detectors("simulated_bags")
    for name, one in found.items():
        clean = f"{100 * one['clean', 'roc_auc'].mean():.1f} ({per_cent(intervals[name][1])})"
        paper = [f"{100 * one['paper', metric].mean():.1f}" for metric in ("roc_auc", "roc_auc_shuffled")]
        cost = [f"{one['both', 'parameters'].mean():,.0f}", f"{milliseconds('simulated_bags', name):#.3g}"]
        figures = [pixels(one, "pixel_roc_auc"), pixels(one, "pro")]
        cells[name] = [clean, per_cent(intervals[name][2]), *paper, *figures, *cost]
    control = 100 * found["vae"]["control", "roc_auc"].mean()
    return cells | {"no network": [f"{control:.1f}", *[""] * 7]}


TABLES: dict[str, Callable[..., Cells]] = {
    "starts": starts, "phase1_variants": phase1_variants, "pyramid_forms": pyramid_forms,
    "pyramid_parts": pyramid_parts, "speed": speed,
    "map": map_, "differences": differences, "earlier": earlier, "projected": projected, "demo": demo,
    "ablation": ablation, "levers": levers, "trials": trials, "shortcuts": shortcuts,
    "projected_shortcuts": lambda: shortcuts("projected_shortcuts"), "statistics": statistics,
    "difficulty": difficulty, "transfer": transfer, "fashion": fashion, "published": published, "bags": bags,
    "model": model,
    "second_look": second_look, "pixels": pixels, "backbones": backbones, "sixray1000": sixray1000,
    "curve": curve,
}  # fmt: skip


def tables() -> list[Any]:
    """Find all tables with a comment: document, comment, rows."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for comment, table in re.findall(r"<!-- table: (.*?) -->\s*((?:^\|.*\n?)+)", text, re.MULTILINE):
            rows = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in table.splitlines()]
            found.append(pytest.param(comment, rows[2:], id=f"{document.relative_to(ROOT)}-{comment}"))
    return found


@pytest.mark.parametrize(("comment", "rows"), tables())
def test_table_is_what_the_data_say(comment: str, rows: list[list[str]]) -> None:
    name, *arguments = comment.split()
    expected = TABLES[name](*arguments)
    assert rows
    for label, *cells in rows:
        known = [cell if wanted is None else wanted for cell, wanted in zip(cells, expected[label], strict=True)]
        assert cells == known, label


def test_no_interval_of_a_table_is_upside_down() -> None:
    for parameters in tables():
        for row in parameters.values[1]:
            for low, high in re.findall(r"(-?[\d.]+) to (-?[\d.]+)", " ".join(row)):
                assert all(a <= b for a, b in pairwise((float(low), float(high))))
