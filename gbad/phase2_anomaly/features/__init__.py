"""Detectors of unusual feature rows: the BiGAN, and simpler ones to compare it with."""
