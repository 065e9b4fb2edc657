"""One module a stage. Whichever it is, it ends when the DVC that started it is killed."""

import multiprocessing
import os

from pipeline.base import console

if "DVC_STAGE" in os.environ and multiprocessing.parent_process() is None:  # else a worker of `folds`, which sees to it
    console.end_with_parent()  # here, as a stage's own imports take seconds
