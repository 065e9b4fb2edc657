"""One module a stage. Here, before a stage imports anything heavy: a stage with a model gets the allocator's setting,
and a stage ends when the DVC that started it is killed.
"""

import multiprocessing
import os

from pipeline.base import allocator, console

allocator.restart_stage()
if "DVC_STAGE" in os.environ and multiprocessing.parent_process() is None:  # else a worker of `folds`, which sees to it
    console.end_with_parent()
