"""Label lists, annotations, images and the checks on them."""

from gbad.data.annotations import labels_from_coco, labels_from_folders, labels_from_voc, read_voc_boxes
from gbad.data.check import CheckReport, check_dataset
from gbad.data.duplicates import find_duplicates
from gbad.data.images import IMAGE_SUFFIXES, find_images, find_name_collisions, locate, read_image
from gbad.data.labels import SIXRAY_CLASSES, LabelList, find_subsets, list_path, read_list, read_sixray, write_list
from gbad.data.split import group_neighbours, split_validation

__all__ = [
    "IMAGE_SUFFIXES",
    "SIXRAY_CLASSES",
    "CheckReport",
    "LabelList",
    "check_dataset",
    "find_duplicates",
    "find_images",
    "find_name_collisions",
    "find_subsets",
    "group_neighbours",
    "labels_from_coco",
    "labels_from_folders",
    "labels_from_voc",
    "list_path",
    "locate",
    "read_image",
    "read_list",
    "read_sixray",
    "read_voc_boxes",
    "split_validation",
    "write_list",
]
