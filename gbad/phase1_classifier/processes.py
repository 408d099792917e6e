"""The processes, device and precision of a training, by means of accelerate."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from gbad.data.arrays import Rows
from gbad.data.cache import DecodedCache
from gbad.phase1_classifier.backbones import backbone
from gbad.runtime.device import chosen_device

if TYPE_CHECKING:
    from accelerate import Accelerator


def build_accelerator(backbone_name: str, precision: str, device: str) -> Accelerator:
    """Set up accelerate for one training.

    Parameters
    ----------
    backbone_name : str
        Decides whether ``"auto"`` precision is bf16 on a CPU.
    precision : {"auto", "no", "bf16", "fp16"}
    device : {"auto", "cpu"}
    """
    from accelerate import Accelerator  # slow to import, and scoring does without
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DataLoaderConfiguration, DistributedType

    cpu = chosen_device(device) == "cpu"
    if precision == "auto":
        if cpu:
            fast = backbone(backbone_name).bfloat16_on_cpu and torch.cpu._is_amx_tile_supported()
        else:
            fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if fast else "no"
    # accelerate keeps its settings for the whole process, but a second training may ask for others. Processes that work
    # together keep their device.
    alone = PartialState._shared_state and PartialState().distributed_type == DistributedType.NO
    if alone and (PartialState().device.type == "cpu") != cpu:
        AcceleratorState._reset_state(reset_partial_state=True)
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()
    return Accelerator(
        cpu=cpu,
        mixed_precision=precision,
        dataloader_config=DataLoaderConfiguration(split_batches=True),
        step_scheduler_with_optimizer=False,
    )


def shared_rows(
    accelerator: Accelerator, cache: DecodedCache, draw: Callable[[], Rows], *, show_progress: bool
) -> Rows:
    """Rows of an epoch that can be used, the same in all processes: the main process draws and decodes them.

    The main process alone decides which rows are hard, because each process has the batch statistics of its own share
    of the images.
    """
    from accelerate.utils import broadcast_object_list

    drawn = [cache.fill(draw(), show_progress=show_progress) if accelerator.is_main_process else None]
    return cache.fill(broadcast_object_list(drawn)[0])
