"""Image-level detectors: GANomaly and its family, EGBAD, AnoGAN, a VAE."""
