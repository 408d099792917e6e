"""Mass attenuation coefficients of the materials that bags are made of, at two effective photon energies.

The elements' values are those of J. H. Hubbell and S. M. Seltzer, "Tables of X-Ray Mass Attenuation Coefficients"
(NIST Standard Reference Database 126, table 3), at 60 keV and 100 keV: two energies near the effective ones of the
low and the high channel of a 160 kV baggage scanner. Materials follow by the mixture rule, ``mu = sum_i w_i mu_i``
with mass fractions ``w_i`` (the same report, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ELEMENTS: dict[str, tuple[int, float, float]] = {
    "H": (1, 0.3260, 0.2944),
    "C": (6, 0.1753, 0.1514),
    "N": (7, 0.1817, 0.1529),
    "O": (8, 0.1907, 0.1551),
    "F": (9, 0.1920, 0.1496),
    "Na": (11, 0.2268, 0.1585),
    "Mg": (12, 0.2570, 0.1686),
    "Al": (13, 0.2778, 0.1704),
    "Si": (14, 0.3207, 0.1835),
    "S": (16, 0.4053, 0.2020),
    "Cl": (17, 0.4395, 0.2050),
    "K": (19, 0.5678, 0.2345),
    "Ca": (20, 0.6578, 0.2571),
    "Ti": (22, 0.7661, 0.2721),
    "Cr": (24, 0.9639, 0.3166),
    "Fe": (26, 1.205, 0.3717),
    "Ni": (28, 1.512, 0.4440),
    "Cu": (29, 1.593, 0.4584),
    "Zn": (30, 1.760, 0.4973),
    "Sn": (50, 6.564, 1.676),
}
"""Atomic number and mass attenuation coefficients (cm^2/g) at 60 keV and 100 keV."""


@dataclass(frozen=True)
class Material:
    """What a ray passes through.

    Parameters
    ----------
    density : float
        g/cm^3. For loose things (clothes, food in a bag) the density as packed.
    fractions : dict of str to float
        Mass fractions of the elements; they add up to 1.
    """

    density: float
    fractions: dict[str, float]


MATERIALS: dict[str, Material] = {
    "polyethylene": Material(0.95, {"H": 0.144, "C": 0.856}),
    "nylon": Material(1.14, {"H": 0.098, "C": 0.637, "N": 0.124, "O": 0.141}),
    "abs": Material(1.05, {"H": 0.080, "C": 0.860, "N": 0.060}),
    "polycarbonate": Material(1.20, {"H": 0.055, "C": 0.756, "O": 0.189}),
    "pvc": Material(1.35, {"H": 0.060, "C": 0.500, "O": 0.060, "Cl": 0.380}),
    "coated_fabric": Material(0.60, {"H": 0.050, "C": 0.520, "O": 0.200, "Cl": 0.180, "Ca": 0.050}),
    "rubber": Material(1.15, {"H": 0.100, "C": 0.790, "O": 0.050, "S": 0.020, "Si": 0.030, "Zn": 0.010}),
    "leather": Material(0.90, {"H": 0.070, "C": 0.520, "N": 0.140, "O": 0.240, "S": 0.020, "Cr": 0.010}),
    "cotton": Material(0.35, {"H": 0.062, "C": 0.445, "O": 0.493}),
    "polyester": Material(0.30, {"H": 0.042, "C": 0.625, "O": 0.333}),
    "paper": Material(0.85, {"H": 0.056, "C": 0.400, "O": 0.484, "Ca": 0.060}),
    "cardboard": Material(0.20, {"H": 0.061, "C": 0.440, "O": 0.484, "Ca": 0.015}),
    "wood": Material(0.65, {"H": 0.062, "C": 0.490, "O": 0.443, "N": 0.005}),
    "water": Material(1.00, {"H": 0.112, "O": 0.888}),
    "food": Material(0.95, {"H": 0.090, "C": 0.250, "N": 0.020, "O": 0.630, "Na": 0.004, "K": 0.006}),
    "toiletry": Material(1.05, {"H": 0.090, "C": 0.150, "O": 0.700, "Na": 0.020, "Si": 0.020, "Ti": 0.020}),
    "salt": Material(1.20, {"Na": 0.393, "Cl": 0.607}),
    "glass": Material(2.50, {"O": 0.460, "Si": 0.336, "Na": 0.107, "Ca": 0.077, "Mg": 0.020}),
    "ceramic": Material(2.30, {"O": 0.490, "Si": 0.290, "Al": 0.160, "K": 0.040, "Ca": 0.020}),
    "fr4": Material(1.90, {"H": 0.020, "C": 0.230, "O": 0.340, "Si": 0.180, "Ca": 0.100, "Al": 0.050, "Cu": 0.080}),
    "cell": Material(2.30, {"Al": 0.150, "Cu": 0.130, "C": 0.300, "O": 0.270, "Ni": 0.070, "Fe": 0.080}),
    "aluminium": Material(2.70, {"Al": 1.0}),
    "titanium": Material(4.51, {"Ti": 1.0}),
    "steel": Material(7.85, {"Fe": 0.985, "C": 0.005, "Cr": 0.010}),
    "stainless": Material(7.80, {"Fe": 0.740, "Cr": 0.180, "Ni": 0.080}),
    "zinc": Material(6.60, {"Zn": 0.950, "Al": 0.040, "Cu": 0.010}),
    "brass": Material(8.45, {"Cu": 0.630, "Zn": 0.370}),
    "copper": Material(8.96, {"Cu": 1.0}),
    "solder": Material(7.40, {"Sn": 0.990, "Cu": 0.010}),
}
"""Densities and compositions are ordinary handbook values, rounded."""


def mass_attenuation(material: str) -> npt.NDArray[np.float64]:
    """Mass attenuation coefficients of a material by the mixture rule.

    Parameters
    ----------
    material : str
        A name in `MATERIALS`, or the symbol of an element in `ELEMENTS`.

    Returns
    -------
    ndarray of shape (2,), float64
        cm^2/g at the low and the high energy.

    Examples
    --------
    >>> mass_attenuation("Fe").tolist()
    [1.205, 0.3717]
    """
    fractions = {material: 1.0} if material in ELEMENTS else MATERIALS[material].fractions
    return np.array([sum(share * ELEMENTS[name][1 + k] for name, share in fractions.items()) for k in range(2)])


LINEAR_ATTENUATION: dict[str, tuple[float, float]] = {
    name: (float(low), float(high))
    for name, material in MATERIALS.items()
    for low, high in [mass_attenuation(name) * material.density]
}
"""Linear attenuation coefficients in 1/cm at the low and the high energy."""
