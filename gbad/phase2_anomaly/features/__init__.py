"""Detectors of unusual feature rows: the BiGAN, and simpler detectors to compare it with."""
