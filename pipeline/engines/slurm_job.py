"""What a Slurm job does: it has a `Node`, which gets its work, and answers, through files that all nodes see.

As `node.py` it imports the standard library alone, and goes there by value.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.engines.node import UNHEARD_S, Node, about

BEAT, ORDER, ANSWER, BEGUN = "beat.json", "order.json", "answer.json", "begun"
BEAT_S = 1.0
SETTLE_S = 5.0  # who ends a job signals all of its processes: a stage may have ended badly because we are to end


def write(path: Path, content: Any) -> None:
    """In place: who opens a file on NFS sees what was written to it, but a new file under its name perhaps later."""
    path.write_text(json.dumps(content), encoding="utf-8")


def read(path: Path) -> Any:
    """What is there; {} while it is written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


class Voice(threading.Thread):
    """Says again and again how things stand, which is a sign of life too."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        job = os.environ.get("SLURM_JOB_ID") or str(os.getpid())
        self.said: dict[str, Any] = {"job": job, "host": socket.gethostname(), "about": about(), "number": 0}
        self._path, self._changed = path, threading.Event()

    def run(self) -> None:
        """For ever."""
        beat = 0
        while True:
            with contextlib.suppress(OSError):
                write(self._path, self.said | {"beat": beat})
            beat += 1
            self._changed.wait(BEAT_S)
            self._changed.clear()

    def say(self, **what: Any) -> None:
        """From now on."""
        self.said = self.said | what
        self._changed.set()


def work(folder: str) -> None:
    """Take one order after the other, until `folder` is gone, or nobody has been heard for a minute."""
    here = Path(folder)
    try:
        (here / BEGUN).touch(exist_ok=False)
    except FileExistsError:
        return  # Slurm begins it once more; but who sent it has given it up, and sent another
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, lambda *_: None)  # submitit would end it there, before its time is over
    voice = Voice(here / ANSWER)
    voice.start()
    node, beat, heard = None, None, time.monotonic()
    try:
        while (here / ORDER).exists() and time.monotonic() - heard < UNHEARD_S:
            found = read(here.parent / BEAT)
            if found != beat:
                beat, heard = found, time.monotonic()
            order = read(here / ORDER)
            if order.get("number", 0) > voice.said["number"]:
                node = _begin(order, voice)
            elif node is not None and (code := node.code()) is not None:
                _answer(node, order, code, voice)
                node = None
            time.sleep(BEAT_S / 4)
    finally:
        if node is not None:
            node.end()


def _begin(order: Any, voice: Voice) -> Node:
    _note(order, f"job {voice.said['job']} on {voice.said['host']}")
    node = Node(order["cache"], order["work"])
    node.begin(*order["begin"])
    voice.say(number=order["number"], code=None, outputs={})
    return node


def _answer(node: Node, order: Any, code: int, voice: Voice) -> None:
    if code:
        time.sleep(SETTLE_S)
    if code == -signal.SIGKILL:
        _note(order, "error: the stage was killed, perhaps for want of memory: ask for more (--slurm-options mem=…)")
    voice.say(code=code, outputs=node.outputs("") if code == 0 else {})


def _note(order: Any, line: str) -> None:
    with Path(f"{order['work']}.log").open("a", encoding="utf-8") as log:
        log.write(f"{line}\n")


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)
