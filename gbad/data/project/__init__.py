"""Threat image projection: real threats multiplied into real threat-free bags."""

from gbad.data.project.dataset import project_dataset

__all__ = ["project_dataset"]
