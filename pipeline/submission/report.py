"""The contract's verdict on a file, as a table for people and as a mapping for machines."""

from collections.abc import Sequence
from typing import Any

from pipeline.submission.contract import OK, REFUSED, WARN, Check


def overall(checks: Sequence[Check]) -> str:
    """REFUSED where a check refuses the file, else WARN where one warns, else OK."""
    found = {check.status for check in checks}
    return next((status for status in (REFUSED, WARN) if status in found), OK)


def verdict_table(source: str, checks: Sequence[Check]) -> list[str]:
    """Lines to print: a check each, its offenders and the remedy below it where it did not pass; the verdict last."""
    wide = max(len(check.check) for check in checks)
    lines = []
    for check in checks:
        found = f"{check.count:,} found" if check.count else check.seen
        looked = f" in {check.seen}" if check.count and check.seen else ""
        lines.append(f"{check.status:<7}  {check.check:<{wide}}  {found}{looked}")
        if check.count:
            lines.append(f"{'':7}  first: {'; '.join(check.first)}")
            lines.append(f"{'':7}  do: {check.remedy}")
    counts = [f"{sum(check.status == status for check in checks)} {status}" for status in (OK, WARN, REFUSED)]
    return [*lines, f"{source}: {overall(checks)} ({', '.join(counts)})"]


def verdict_record(source: str, checks: Sequence[Check]) -> dict[str, Any]:
    """The same as JSON takes it."""
    return {
        "file": source,
        "verdict": overall(checks),
        "checks": [
            {
                "check": check.check,
                "status": check.status,
                "seen": check.seen,
                "count": check.count,
                "first": list(check.first),
                "remedy": check.remedy if check.count else "",
            }
            for check in checks
        ],
    }
