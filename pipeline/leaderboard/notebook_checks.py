"""What a notebook must be before it is submitted: done in time, and with the answers that were made here."""

import hashlib
from dataclasses import dataclass

from pipeline.base import console
from pipeline.competition.schema import Schema
from pipeline.leaderboard.speed import Speed, in_time
from pipeline.submission.contract import parse_table, refuse, verdict
from pipeline.submission.difference import first_difference, rows_apart

MOST_APART = 0.1  # of the rows: other hardware rounds otherwise, and a few labels with it


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What is known here."""

    content: bytes  # the submission made here
    sample: bytes
    schema: Schema
    differing: bool  # other answers are submitted, too
    num_hidden: int  # images that will be predicted
    is_stated: bool  # by the user: else it is a guess, which stops nothing
    time_limit_s: float

    @property
    def sha256(self) -> str:
        """Of the submission made here, by which the ledger knows it."""
        return hashlib.sha256(self.content).hexdigest()

    def speed(self, line: str, scale: float = 1.0) -> None:
        """Say whether all is done in time, by what predict.py says of its speed.

        scale: how many times as fast it is at the site. Raises ValueError where one fold alone would be too much.
        """
        speed = Speed.read(line)
        if speed is None:
            console.say(f"in time      not known: {line}")
            return
        try:
            console.say(f"in time      {in_time(speed, self.num_hidden, self.time_limit_s, scale=scale)}")
        except ValueError as error:
            if self.is_stated:
                raise
            console.say(f"in time      warning: {error}; --expect says how many images are hidden")

    def output(self, made: bytes) -> None:
        """Say how the notebook's output differs from what was made here.

        Raises ValueError where the contract refuses it, and where too many rows are other answers.
        """
        refuse(verdict(made, self.sample, self.schema), "the kernel's output")
        difference = first_difference(made, self.content, self.schema.submission)
        if difference is None:
            console.say(f"output       {len(made):,} bytes, the same rows as the submission made here")
            return
        apart = rows_apart(made, self.content, self.schema.submission)
        console.say(
            f"output       {len(made):,} bytes, not as made here: {difference}; {len(apart)} rows are other answers"
        )
        if (
            len(apart) > max(1, MOST_APART * len(parse_table(self.sample, self.schema.submission)[1]))
            and not self.differing
        ):
            raise ValueError(
                f"the kernel answers otherwise than this machine in {len(apart)} rows, first row {apart[0]}: nothing "
                "was submitted; look for warnings in its log and try `python -m pipeline bundle kernel --verify`; "
                "--differing submits it all the same"
            )
