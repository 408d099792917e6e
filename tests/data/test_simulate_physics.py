from __future__ import annotations

import numpy as np
import pytest

from gbad.data.simulate.geometry import Layer, Part, Pose, ellipse, pose, rectangle, rod, rounded
from gbad.data.simulate.looks import LOOK_SHARES, LOOKS
from gbad.data.simulate.materials import ELEMENTS, LINEAR_ATTENUATION, MATERIALS, mass_attenuation
from gbad.data.simulate.physics import (
    WHITE_LEVEL,
    colour_table,
    detect,
    effective_atomic_number,
    pseudo_colour,
    transmission,
)
from gbad.data.simulate.render import bounds, render


def slab(material: str, thickness: float, pixels: int = 24) -> np.ndarray:
    """Optical depth of a plate that covers the middle of an image, 1 pixel = 1 cm."""
    depth = np.zeros((2, pixels, pixels), np.float32)
    plate = Layer(material, thickness, [Part(rectangle(4, 4, pixels - 4, pixels - 4))])
    render([plate], pose(), depth)
    return depth


def test_mixture_rule_gives_the_tabulated_value_of_water() -> None:
    # Hubbell and Seltzer, table 4, liquid water: 0.2059 cm^2/g at 60 keV and 0.1707 cm^2/g at 100 keV.
    np.testing.assert_allclose(mass_attenuation("water"), [0.2059, 0.1707], rtol=2e-3)


def test_mixture_rule_gives_the_tabulated_value_of_polyethylene() -> None:
    np.testing.assert_allclose(mass_attenuation("polyethylene"), [0.1970, 0.1719], rtol=2e-3)


@pytest.mark.parametrize("name", sorted(MATERIALS))
def test_mass_fractions_add_up_to_one(name: str) -> None:
    assert sum(MATERIALS[name].fractions.values()) == pytest.approx(1.0, abs=1e-9)


def test_two_millimetres_of_iron_by_hand() -> None:
    # 0.2 cm of iron of 7.874 g/cm^3: exp(-1.205 * 1.5748) = 0.1499 and exp(-0.3717 * 1.5748) = 0.5569
    depth = mass_attenuation("Fe") * 7.874 * 0.2
    np.testing.assert_allclose(transmission(depth), [0.1499, 0.5569], atol=1e-4)


def test_rendered_slab_follows_beer_lambert() -> None:
    depth = slab("water", 10.0)
    np.testing.assert_allclose(depth[:, 12, 12], np.array([0.2059, 0.1707]) * 10, rtol=2e-3)
    np.testing.assert_array_equal(depth[:, 0, 0], 0)


def test_depths_add_whatever_the_order() -> None:
    parts = [Layer("water", 3.0, [Part(ellipse(10, 10, 6))]), Layer("steel", 0.2, [Part(rectangle(8, 2, 14, 18))])]
    one, two = (np.zeros((2, 20, 20), np.float32) for _ in range(2))
    render(parts, pose(), one)
    render(parts[::-1], pose(), two)
    np.testing.assert_allclose(one, two, rtol=1e-6)
    np.testing.assert_allclose(
        one[:, 10, 10],
        [3.0 * LINEAR_ATTENUATION["water"][k] + 0.2 * LINEAR_ATTENUATION["steel"][k] for k in (0, 1)],
        rtol=1e-5,
    )


@pytest.mark.parametrize("tilt", [0.0, 0.6, 1.2])
def test_tilting_conserves_mass(tilt: float) -> None:
    depth = np.zeros((2, 200, 200), np.float32)
    plate = Layer("steel", 1.0, [Part(rectangle(-8, -3, 8, 3))])
    render([plate], pose((100, 100), angle=0.4, tilt=tilt, scale=6.0), depth)
    mass = depth[1].sum() / 36.0  # pixels of 1/36 cm^2
    assert mass == pytest.approx(16 * 6 * LINEAR_ATTENUATION["steel"][1], rel=0.06)


def test_a_later_part_replaces_an_earlier_one_so_that_zero_cuts_a_hole() -> None:
    depth = np.zeros((2, 20, 20), np.float32)
    render([Layer("steel", 1.0, [Part(rectangle(2, 2, 18, 18)), Part(ellipse(10, 10, 4), 0.0)])], pose(), depth)
    assert depth[0, 10, 10] == 0
    assert depth[0, 4, 4] > 1


def test_a_wire_thinner_than_a_pixel_is_paler_not_thicker() -> None:
    totals = []
    for width in (0.2, 0.4):
        depth = np.zeros((2, 40, 40), np.float32)
        render([Layer("copper", 0.1, [Part(np.array([[5.0, 20.0], [35.0, 20.0]]), 1.0, width)])], pose(), depth)
        totals.append(depth[0].sum())
    assert totals[1] / totals[0] == pytest.approx(2.0, rel=0.05)


def test_objects_outside_the_image_change_nothing() -> None:
    depth = np.zeros((2, 20, 20), np.float32)
    render([Layer("steel", 1.0, [Part(rectangle(100, 100, 120, 120))])], pose(), depth)
    assert not depth.any()


def test_bounds_hold_all_that_is_drawn() -> None:
    layers = [Layer("steel", 1.0, [*rod(-5, 5, 1, 2), Part(rounded(-3, -3, 3, 3, 1), 0.5)])]
    view = pose((50, 50), angle=0.7, tilt=0.8, axis=0.3, scale=3.0)
    whole = np.zeros((2, 100, 100), np.float32)
    render(layers, view, whole)
    x0, y0, x1, y1 = bounds(layers, view)
    part = np.zeros((2, y1 - y0, x1 - x0), np.float32)
    render(layers, view, part, origin=(x0, y0))
    assert part.sum() == pytest.approx(whole.sum(), rel=0.02)


def test_poses_compose() -> None:
    inner, outer = pose((1, 2), 0.3, 0.5, 0.2), pose((5, -1), 1.1, scale=2.0)
    both = inner.then(outer)
    point = np.array([0.7, -0.4])
    expected = outer.matrix @ (inner.matrix @ point + inner.offset) + outer.offset
    np.testing.assert_allclose(both.matrix @ point + both.offset, expected)
    assert isinstance(both, Pose)
    assert both.stretch == pytest.approx(1 / np.cos(0.5))


@pytest.mark.parametrize("symbol", ["C", "O", "Al", "Ti", "Fe", "Cu"])
@pytest.mark.parametrize("grams", [1.0, 4.0])
def test_effective_atomic_number_of_elements(symbol: str, grams: float) -> None:
    low, high = mass_attenuation(symbol) * grams
    assert effective_atomic_number(low, high) == pytest.approx(ELEMENTS[symbol][0], abs=0.8)


def test_detector_noise_is_poisson_like() -> None:
    depth = np.zeros((2, 300, 300), np.float32)
    depth[1] = np.log(4.0)
    raw = detect(depth, np.random.default_rng(0), photons=10_000, scatter=0.0, blur=0.0, line_gain=0.0) / WHITE_LEVEL
    assert raw[1].mean() == pytest.approx(0.25, rel=1e-3)
    assert raw[1].std() == pytest.approx(0.25 / np.sqrt(2500), rel=0.05)
    assert raw.dtype == np.float64


def test_scatter_limits_the_dynamic_range() -> None:
    raw = detect(np.full((2, 50, 50), 30, np.float32), np.random.default_rng(0), photons=1e6, scatter=0.003)
    assert raw.dtype == np.uint16
    assert raw.mean() == pytest.approx(0.003 / 1.003 * WHITE_LEVEL, rel=0.02)


def test_air_has_the_background_colour() -> None:
    for look in LOOKS:
        raw = np.full((2, 8, 8), WHITE_LEVEL, np.uint16)
        assert (pseudo_colour(raw, look) == look.air).all()


@pytest.mark.parametrize("look", LOOKS)
def test_organic_is_orange_aluminium_green_and_steel_blue(look: object) -> None:
    def colour(material: str, thickness: float) -> np.ndarray:
        raw = np.clip(np.exp(-slab(material, thickness)) * WHITE_LEVEL, 1, 65535).astype(np.uint16)
        return pseudo_colour(raw, look)[12, 12].astype(int)  # type: ignore[arg-type]

    organic, mixed, metal = colour("cotton", 12.0), colour("aluminium", 1.0), colour("steel", 0.2)
    assert organic[0] > organic[1] > organic[2]
    assert mixed[1] > max(mixed[0], mixed[2])
    assert metal[2] > metal[1] > metal[0]


def test_thicker_is_darker_and_opaque_nearly_black() -> None:
    table = colour_table(LOOKS[0]).sum(axis=2)
    assert (np.diff(table, axis=1) <= 1e-3).all()
    assert (table[:, -1] < 100).all()
    assert sum(LOOK_SHARES) == pytest.approx(1.0)
