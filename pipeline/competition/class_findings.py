"""A finding of the audit, and those that the sizes of the classes alone give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.competition.problems import Problems

NUM_SHOWN = 3
TINY_CLASSES = "classes of fewer than 2 images"
MIN_IMAGES, FEW_IMAGES = 2, 5  # of a class: to have it in training and held out; in each of five folds


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found; `dataclasses.asdict` makes it fit for JSON."""

    kind: str
    severity: str  # `warn`: training makes sense; `stop`: its scores would mean nothing; `note`: nothing to do
    count: int
    first: tuple[str, ...]  # up to three offenders
    remedy: str


def finding(kind: str, severity: str, offenders: Sequence[str], remedy: str) -> Finding:
    """The finding of this kind about all `offenders`."""
    return Finding(kind, severity, len(offenders), tuple(offenders[:NUM_SHOWN]), remedy)


def class_findings(num_images: Mapping[str, int], *, exclusive: bool) -> list[Finding]:
    """Classes with too few images, from the count of each; `exclusive` as in `Target`.

    An only image of a class stops where classes exclude each other: held out, the class was never trained on.
    """
    shown = [(count, f"{label!r} x{count}") for label, count in num_images.items()]
    tiny = [text for count, text in shown if count < MIN_IMAGES]
    small = [text for count, text in shown if MIN_IMAGES <= count < FEW_IMAGES]
    findings = []
    if tiny:
        remedy = (
            "add images, merge the class into another, or take it out: it cannot be learnt and scored at once; with "
            "split.small_classes: allow it is dealt all the same and never found out of fold, so that the score there "
            "is lower than that of the test images"
        )
        findings.append(finding(TINY_CLASSES, "stop" if exclusive else "warn", tiny, remedy))
    if small:
        remedy = "add images, or lower split.num_folds; their scores hang on single images"
        findings.append(finding(f"classes of fewer than {FEW_IMAGES} images", "warn", small, remedy))
    return findings


def add_stopping(problems: Problems, findings: Sequence[Finding]) -> None:
    """Findings that stop become problems, which competition.allow may let pass."""
    for finding in findings:
        if finding.severity == "stop":
            allow = f"; to go on all the same: competition.allow: [{finding.kind}]"
            for number in range(finding.count):
                offender = finding.first[number] if number < len(finding.first) else ""
                problems.add(finding.kind, offender, finding.remedy + allow)
