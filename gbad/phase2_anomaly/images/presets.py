"""Hyperparameters of image-level detectors as papers print them, and as the authors' code has them.

A preset holds what its source states. What a paper leaves open keeps the detector's default, which its class explains.
All of the papers' detectors have these sizes already: their defaults are the published networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS = ("published", "released")
"""``"published"``: the paper of the detector; ``"released"``: the authors' code, where it differs or says more."""

PUBLISHED: dict[str, dict[str, Any]] = {
    # Akcay et al. 2018, as their code has it; the weights are the paper's, too.
    "ganomaly": {
        "features": 64, "latent_size": 100, "batch_size": 64, "epochs": 15, "learning_rate": 2e-4, "beta1": 0.5,
        "adversarial_weight": 1.0, "contextual_weight": 50.0, "encoder_weight": 1.0,
    },
    # Akcay et al. 2019; the rate with its decay, the weights and the score as Liu et al. repeat them. Neither epochs
    # nor batch size.
    "skip_ganomaly": {
        "features": 64, "latent_size": 100, "learning_rate": 2e-3, "decay": "late", "beta1": 0.5,
        "adversarial_weight": 1.0, "contextual_weight": 40.0, "latent_weight": 1.0, "latent_in_discriminator": False,
        "restart_discriminator": False, "score_form": "norms", "score_weight": 0.9, "scale_parts": False,
    },
    # Liu et al., Section 3. Neither epochs nor batch size.
    "sagan": {
        "widths": (64, 128, 256, 512, 512), "separable": True, "features": 64, "latent_size": 100,
        "learning_rate": 2e-3, "decay": "late", "beta1": 0.5, "adversarial_weight": 1.0, "contextual_weight": 40.0,
        "latent_weight": 1.0, "score_form": "norms", "score_weight": 0.2, "scale_parts": False,
    },
    # Zaware et al., Section 4; "converges in just about 20 epochs". Neither batch size, widths nor eta.
    "dense_skip": {
        "learning_rate": 8e-3, "epochs": 20, "heads": 4, "adversarial_weight": 1.0, "contextual_weight": 40.0,
        "latent_weight": 1.0, "attention": True, "spectral_norm": True, "dense_skip": True,
    },
    # Barker and Breckon, Sections III and IV-A. No epochs, widths or sizes of codes.
    "panda_gan": {
        "learning_rate": 7e-6, "discriminator_rate": 1e-5, "batch_size": 15, "backbone": "resnet50",
        "discriminator": "fine-grained", "high_level": True, "re_encode_high": True, "re_encode_low": True,
        "attention_augmentation": True,
    },
    # Zenati et al., as their code has it for MNIST. No epochs.
    "egbad": {
        "features": 32, "latent_size": 200, "learning_rate": 1e-5, "beta1": 0.5, "batch_size": 100,
        "ema_decay": 0.999, "matching_weight": 0.1,
    },
    # Schlegl et al. 2017; steps and rates of the search as in the code of EGBAD, which compares with it.
    "anogan": {"search_steps": 500, "search_learning_rate": 0.01, "matching_weight": 0.1},
    # Schlegl et al. 2019, as their code has it. It counts the encoder's training in batches, 50,000; set epochs to that
    # divided by the batches of an epoch.
    "f_anogan": {
        "features": 64, "latent_size": 128, "batch_size": 64, "gan_rate": 1e-4, "beta1": 0.0, "beta2": 0.9,
        "critic_steps": 5, "penalty_weight": 10.0, "gan_epochs": 7, "learning_rate": 5e-5, "feature_weight": 1.0,
    },
    # Kingma and Welling have no convolutional network to repeat.
    "vae": {},
}  # fmt: skip
"""What papers print, by detector."""

RELEASED: dict[str, dict[str, Any]] = {
    "ganomaly": PUBLISHED["ganomaly"],
    # epochs: the default; the script for CIFAR-10 has 25.
    "skip_ganomaly": {
        "features": 64, "latent_size": 100, "batch_size": 64, "epochs": 15, "learning_rate": 2e-4, "decay": "none",
        "beta1": 0.5, "adversarial_weight": 1.0, "contextual_weight": 50.0, "latent_weight": 1.0,
        "latent_in_discriminator": True, "restart_discriminator": True, "score_form": "means", "score_weight": 0.9,
        "scale_parts": False,
    },
    "egbad": PUBLISHED["egbad"],
    "f_anogan": PUBLISHED["f_anogan"],
}  # fmt: skip
"""What the authors' code has, by detector. SAGAN's code builds the generator of Skip-GANomaly, not its paper's."""


def preset(detector: str, name: str) -> Mapping[str, Any]:
    """Look up the hyperparameters of a preset.

    Parameters
    ----------
    detector : str
        Name of the detector, see `gbad.phase2_anomaly.IMAGE_DETECTORS`.
    name : {"published", "released"}

    Returns
    -------
    mapping of str to object
        Keywords of the detector's class.

    Raises
    ------
    ValueError
        If there is no such preset.

    Examples
    --------
    >>> preset("skip_ganomaly", "published")["learning_rate"], preset("skip_ganomaly", "released")["learning_rate"]
    (0.002, 0.0002)
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}.")
    found = (PUBLISHED if name == "published" else RELEASED).get(detector)
    if found is None:
        having = ", ".join(PUBLISHED if name == "published" else RELEASED)
        raise ValueError(f"there is no preset {name!r} of {detector!r}, but of {having}.")
    return dict(found)
