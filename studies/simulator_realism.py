"""Make a contact sheet of simulated scans, and compare simple statistics of simulated and real scans.

python studies/simulator_realism.py --real DATA --side-by-side ~/side_by_side.png

DATA is a data set in SIXray's layout. Its images are never written to --out: that folder gets simulated scans and
figures only. The picture --side-by-side shows real images and must lie outside the repository. Each real threat-free
bag is paired with a simulated bag of the same longer side, compressed with the same JPEG tables. If the AUC of all
statistics together is near 1, the statistics tell simulated bags from real ones, even if the medians are alike.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from scipy.spatial.distance import jensenshannon
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from gbad.data.images import image_paths, read_image
from gbad.data.labels import find_subsets, read_sixray
from gbad.data.simulate.dataset import numbered_scan
from gbad.storage.files import atomic_path

REPOSITORY = Path(__file__).resolve().parents[1]
NEIGHBOURS = 20  # images with neighbouring names, which often show one bag and stay in one fold
EDGE = 8.0  # grey levels per pixel
MID = (0.02, 0.2)  # cycles per pixel of the fit of the power spectrum


def pixel_shares(image: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Share of the pixels of each named colour (the sum is 1), of the foreground, and of opaque pixels in it.

    Air is the most frequent value from 180 up among pale pixels (saturation up to 40 of 255), or 180. Background: pale
    pixels with a value above air - 20. Black: other pixels with a value below 70. Grey: the remaining pale pixels. All
    others have a colour by their hue in degrees: organic orange 300 over 0 to 60, mixed green 60 to 165, metal blue 165
    to 300. Foreground: everything but the background, specks removed, holes filled. Opaque: luminance below 60, as a
    share of the foreground.
    """
    hue, saturation, value = np.moveaxis(np.asarray(Image.fromarray(image).convert("HSV")).astype(int), 2, 0)
    pale, degrees = saturation <= 40, hue * 360 / 256
    air = 180 + int(np.bincount(value[pale & (value >= 180)] - 180, minlength=76).argmax())
    background = pale & (value > air - 20)
    black = ~background & (value < 70)
    grey = pale & ~background & ~black
    hues = np.where(background | black | grey, -1, np.digitize(degrees, (60, 165, 300)) % 3)
    masks = {"background": background, "orange": hues == 0, "green": hues == 1, "blue": hues == 2}
    shares = {f"colour: {name}": float(mask.mean()) for name, mask in (masks | {"black": black, "grey": grey}).items()}
    inside = ndimage.binary_fill_holes(ndimage.binary_opening(~background, np.ones((3, 3))))
    opaque = inside & (np.asarray(Image.fromarray(image).convert("L")) < 60)
    return shares | {"foreground share": inside.mean(), "opaque share": opaque.sum() / max(1, inside.sum())}


def spectrum(grey: npt.NDArray[np.float64]) -> dict[str, float]:
    """Slope beta of the radially averaged power (f ** -beta over `MID`), and the share of power above Nyquist / 4."""
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(grey.shape[0]), np.fft.fftfreq(grey.shape[1]), indexing="ij"))
    ring = np.digitize(radius.ravel(), edges := np.geomspace(*MID, 13))
    sums, counts = np.bincount(ring, power.ravel(), 14)[1:-1], np.bincount(ring, minlength=14)[1:-1]
    fit, middle = counts > 0, np.sqrt(edges[1:] * edges[:-1])
    slope = np.polyfit(np.log(middle[fit]), np.log(sums[fit] / counts[fit] + 1e-9), 1)[0]
    return {"spectrum beta": float(-slope), "power above Nyquist/4": float(power[radius > 0.125].sum() / power.sum())}


def statistics(image: npt.NDArray[np.uint8]) -> tuple[dict[str, float], npt.NDArray[np.float64]]:
    """Statistics of an image by name, and its 8 x 8 x 8 RGB histogram (512 shares)."""
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=float)
    edges = float((ndimage.gaussian_gradient_magnitude(grey, 1.0) > EDGE).mean())
    values = pixel_shares(image) | {"edge density": edges} | spectrum(grey)
    values["aspect ratio (width/height)"] = image.shape[1] / image.shape[0]
    codes = (image.reshape(-1, 3) >> 5).astype(np.intp) @ [64, 8, 1]
    return values, np.bincount(codes, minlength=512) / len(codes)


def real_and_simulated(
    path: Path, seed: int, number: int, size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read a real bag, reduced to `size` if larger, and simulate a threat-free bag with its size and JPEG tables."""
    real = Image.fromarray(read_image(path))
    real.thumbnail((size, size), Image.Resampling.LANCZOS)
    scan = numbered_scan(seed, number, False, max(real.size)).image
    with Image.open(path) as source:
        tables = getattr(source, "quantization", None)
    buffer = io.BytesIO()
    Image.fromarray(scan).save(buffer, "JPEG", **({"qtables": tables} if tables else {"quality": 90}))
    return np.asarray(real), np.asarray(Image.open(buffer).convert("RGB"))


def table_of(real: pd.DataFrame, simulated: pd.DataFrame) -> pd.DataFrame:
    """Median and quartiles of each statistic, and its own AUC, from 0.5 (no information) to 1."""
    truth = np.repeat([0, 1], len(real))
    table = pd.DataFrame(index=pd.Index(real.columns, name="statistic"))
    for kind, values in (("real", real), ("simulated", simulated)):
        for name, share in (("median", 0.5), ("25 %", 0.25), ("75 %", 0.75)):
            table[f"{kind} {name}"] = values.quantile(share)
    aucs = [roc_auc_score(truth, np.concatenate([real[name], simulated[name]])) for name in real]
    table["AUC alone"] = [max(auc, 1 - auc) for auc in aucs]
    return table


def histogram_distances(
    real: npt.NDArray[np.float64], simulated: npt.NDArray[np.float64], groups: npt.NDArray[np.intp], seed: int
) -> dict[str, float]:
    """Jensen-Shannon distances (base 2, 0 to 1) of the mean histograms of random halves; mean over 20 draws."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"real half against other half": [], "real half against simulated half": []}
    for _ in range(20):
        half = np.isin(groups, rng.permutation(np.unique(groups))[::2])
        other = rng.permutation(len(simulated))[::2]
        for values, against in zip(found.values(), (real[~half], simulated[other]), strict=True):
            values.append(float(jensenshannon(real[half].mean(axis=0), against.mean(axis=0), base=2)))
    return {name: float(np.mean(values)) for name, values in found.items()}


def told_apart(real: pd.DataFrame, simulated: pd.DataFrame, groups: npt.NDArray[np.intp], seed: int) -> float:
    """AUC of gradient boosting that tells simulated from real bags by all statistics; 5 folds, neighbours together."""
    data, truth = pd.concat([real, simulated]).to_numpy(), np.repeat([0, 1], len(real))
    groups = np.concatenate([groups, groups + groups.max() + 1])
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    model = GradientBoostingClassifier(random_state=seed)
    scores = cross_val_predict(model, data, truth, groups=groups, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(truth, scores))


def sheet(images: Sequence[npt.NDArray[np.uint8]], labels: Sequence[str], columns: int, tile: int) -> Image.Image:
    """Lay out images in rows, each reduced to a tile, with its label below."""
    page = Image.new("RGB", (columns * (tile + 4), -(-len(images) // columns) * (tile + 18)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=10)
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        x, y = k % columns * (tile + 4) + 2, k // columns * (tile + 18)
        (picture := Image.fromarray(image)).thumbnail((tile, tile), Image.Resampling.LANCZOS)
        page.paste(picture, (x + (tile - picture.width) // 2, y + (tile - picture.height) // 2))
        draw.text((x + tile // 2, y + tile + 7), label, fill="black", font=font, anchor="mm")
    return page


def main(argv: Sequence[str] | None = None) -> None:
    """Write the contact sheet, and with --real the statistics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="data set in SIXray's layout")
    parser.add_argument("--side-by-side", type=Path, help="picture of --n real and simulated bags, not to be published")
    parser.add_argument("--n", type=int, default=60, help="scans on the contact sheet, half of them with threats")
    parser.add_argument("--most", type=int, help="real images to compare, at most. Default: all.")
    parser.add_argument("--size", type=int, default=384, help="longer side in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/simulator"))
    options = parser.parse_args(argv)
    beside, size, seed = options.side_by_side, options.size, options.seed
    if beside and (not options.real or {REPOSITORY, options.out.resolve()} & set(beside.resolve().parents)):
        parser.error(
            "--side-by-side needs --real and a path outside the repository, since real images may not be published."
        )
    numbers = range(1, options.n // 2 + 1)
    scans = [numbered_scan(seed, number, positive, size) for positive in (True, False) for number in numbers]
    names = ["+".join(scan.classes) or "threat-free" for scan in scans]
    with atomic_path(options.out / "contact_sheet.png") as path:
        sheet([scan.image for scan in scans], names, 10, 168).quantize(256, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
    if not options.real:
        return

    lists = [read_sixray(options.real, find_subsets(options.real)[0], part) for part in ("train", "test")]
    free = sorted({name for part in lists for name in part.select(~part.positive).names})
    free = free[:: -(-len(free) // (options.most or len(free) or 1))]
    if len(free) <= 4 * NEIGHBOURS:
        parser.error(f"{len(free)} threat-free images are too few to compare: more than {4 * NEIGHBOURS} are needed.")
    pairs = [(path, seed, k, size) for k, path in enumerate(image_paths(options.real, free), start=1)]
    if beside:
        rows = np.array_split(np.linspace(0, len(pairs) - 1, options.n).astype(int), -(-options.n // 6))
        shown = [list(zip(*(real_and_simulated(*pairs[k]) for k in row), strict=True)) for row in rows]
        images = [image for row in shown for block in row for image in block]
        kinds = [kind for row in shown for kind, block in zip(("real", "simulated"), row, strict=True) for _ in block]
        beside.parent.mkdir(parents=True, exist_ok=True)
        sheet(images, kinds, 12, 132).save(beside)
    measure = delayed(lambda pair: [statistics(image) for image in real_and_simulated(*pair)])
    found = Parallel(n_jobs=options.workers)(measure(pair) for pair in pairs)
    real, simulated = (pd.DataFrame([pair[k][0] for pair in found]) for k in (0, 1))
    colours, simulated_colours = (np.array([pair[k][1] for pair in found]) for k in (0, 1))
    groups, table = np.arange(len(free)) // NEIGHBOURS, table_of(real, simulated)
    figures = {"AUC of gradient boosting on all statistics, 5 folds": told_apart(real, simulated, groups, seed)}
    for kind, value in histogram_distances(colours, simulated_colours, groups, seed).items():
        figures[f"Jensen-Shannon distance of RGB histograms, {kind}"] = value
    with atomic_path(options.out / "statistics.csv") as path:
        pd.concat([table, pd.Series(figures, name="value").to_frame()]).round(4).to_csv(path, index_label="statistic")
    print(f"{len(real)} real threat-free bags and as many simulated ones, longer side {size} px, seed {seed}\n")
    print("| " + " | ".join(["statistic", *table]) + " |\n" + "|---" * (1 + table.shape[1]) + "|")
    for name, values in zip(table.index, table.to_numpy(), strict=True):
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    print("".join(f"\n{name}: {value:.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
