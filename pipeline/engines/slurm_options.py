"""What the user wants of Slurm jobs."""

import math
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit

from pipeline.engines.placement import Need

OURS = ("nodes", "ntasks", "ntasks_per_node", "array", "chdir", "gpus_per_node", "additional_parameters")
LINES = ("setup", "teardown")  # shell commands around the job


class Options:
    """What the user wants of a job, in words `name=value`: submitit's names, and any other of sbatch's."""

    def __init__(self, words: Sequence[str]) -> None:
        self.values: dict[str, Any] = {}
        for word in words:
            name, equals, value = word.partition("=")
            name = name.lstrip("-").replace("-", "_")
            if not name.isidentifier() or name in OURS:
                why = "is set by folds (GPUs by --gpus)" if name in OURS else "must be name=value, or a name alone"
                raise ValueError(f"--slurm-options: {word!r} {why}; submitit's and sbatch's names, as in partition=gpu")
            self.values[name] = _value(name, value) if equals else True
        self.cluster = self.values.pop("cluster", "slurm")
        if self.cluster not in ("slurm", "local"):
            raise ValueError(
                f"--slurm-options: cluster={self.cluster}, must be slurm, or local for processes of this machine"
            )
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise ValueError(
                "the engine slurm needs Slurm's commands (sbatch, squeue, scancel), and they are not on PATH: run this "
                "where jobs are submitted, or try it without Slurm with --slurm-options cluster=local"
            )

    def name_of(self, folder: Path) -> str:
        """Of the jobs whose files are in `folder`."""
        return str(self.values.get("job_name", f"foldboard-{folder.name}"))

    def executor(self, folder: Path, need: Need) -> Any:
        """What submits jobs that need so much; their files are in `folder`."""
        values = dict(self.values)
        python = values.pop("python", None)
        if self.cluster == "local":
            executor: Any = submitit.LocalExecutor(folder, python=python)
            executor.update_parameters(timeout_min=1e6)  # 2 else
            return executor
        executor = submitit.SlurmExecutor(folder, python=python)
        names = executor._valid_parameters()
        ours = {"time": None, "cpus_per_task": math.ceil(need.cpus), "job_name": self.name_of(folder)}  # time is 5 else
        ours["use_srun"] = False  # from Slurm 22.05 to 23.02 it takes no notice of the job's cores
        if need.gpus:
            ours["gpus_per_node"] = int(need.gpus)
        other = {name: value for name, value in values.items() if name not in names} | {"chdir": str(folder)}
        known = {name: value for name, value in values.items() if name in names}
        executor.update_parameters(**ours | known, additional_parameters=other)
        return executor


def _value(name: str, value: str) -> Any:
    if name in LINES:
        return [value]
    if name == "srun_args":
        return shlex.split(value)
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    return int(value) if name == "signal_delay_s" and value.isdecimal() else value
