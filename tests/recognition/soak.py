"""Many made-up competitions: shares of the outcomes, and which dimensions meet in the failures.

python -m tests.recognition.soak --count 10000 --seed 0 --processes 2; one again: --only SEED --keep DIR.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from .compose import compose
from .judge import BAD_QUESTION, FAILURES, OUTCOMES, QUESTION, UNCLEAR, Verdict, judge
from .truth import Made, Plan

WHOLE_EACH = 25  # one competition of so many goes through the stages too
LISTED = (*FAILURES, BAD_QUESTION, UNCLEAR, QUESTION)
MIN_LIFT = 1.5  # a value is shown that stands so much more often in an outcome than elsewhere


def run_seed(seed: int) -> tuple[int, Plan, Verdict]:
    """The verdict on one competition, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="recognition-") as folder:
        made = compose(seed)
        return seed, made.plan, judge(made, Path(folder), whole=seed % WHOLE_EACH == 0)


def run_seeds(seeds: Sequence[int], processes: int = 1) -> Iterator[tuple[int, Plan, Verdict]]:
    """The verdicts on these seeds, as they come."""
    if processes == 1:
        yield from map(run_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=20)


def report(results: Sequence[tuple[int, Plan, Verdict]], show: int) -> list[str]:
    """Shares, kinds of each outcome with a seed, and the dimensions' values that concentrate there."""
    counts = Counter(verdict.outcome for _, _, verdict in results)
    lines = [f"{outcome:<16} {counts[outcome]:6,}  {counts[outcome] / len(results):7.2%}" for outcome in OUTCOMES]
    for outcome in LISTED:
        chosen = [result for result in results if result[2].outcome == outcome]
        if chosen:
            lines += ["", f"-- {outcome}: {len(chosen):,}", *_kinds(chosen, show), *_values(chosen, results)]
    return lines


def _kinds(chosen: Sequence[tuple[int, Plan, Verdict]], show: int) -> list[str]:
    seeds: dict[str, list[int]] = defaultdict(list)
    for seed, _, verdict in chosen:
        keys = ", ".join(line.partition(": ")[0].removeprefix("competition.") for line in verdict.asked)
        seeds[f"asked {keys}" if verdict.outcome == QUESTION else verdict.kind].append(seed)
    ranked = sorted(seeds.items(), key=lambda entry: -len(entry[1]))
    return [f"{len(found):5}  {kind}  (seeds {', '.join(map(str, found[:3]))})" for kind, found in ranked[:show]]


def _values(chosen: Sequence[tuple[int, Plan, Verdict]], results: Sequence[tuple[int, Plan, Verdict]]) -> list[str]:
    """Values of dimensions by how much more often than elsewhere they have this outcome."""
    inside = Counter(item for _, plan, _ in chosen for item in plan.items())
    everywhere = Counter(item for _, plan, _ in results for item in plan.items())
    base = len(chosen) / len(results)
    ranked = sorted(inside, key=lambda item: -inside[item] / everywhere[item])
    rows = [
        f"       {inside[item]:5} of {everywhere[item]:5}  {inside[item] / everywhere[item]:5.0%}  {item[0]} = {item[1]}"
        for item in ranked
        if item[1] and inside[item] >= 3 and inside[item] / everywhere[item] >= MIN_LIFT * base
    ]
    return ["       where it concentrates:", *rows[:8]] if rows else []


def shown(made: Made, verdict: Verdict) -> list[str]:
    """One competition for people: what it is, what is true, what was found."""
    truth = made.truth
    labels = Counter(label for labels in truth.train.values() for label in labels)
    return [
        f"seed {made.seed}: {verdict.outcome} {verdict.detail}",
        *(f"  {key:<14} {value}" for key, value in made.plan.items() if value),
        f"  files          {', '.join(sorted(made.files)[:12])} … {len(made.files)}",
        f"  true labels    {dict(labels)}, {len(truth.train)} images, {len(truth.test)} to predict",
        f"  true header    {truth.header}",
        *(f"  true row       {row}" for row in truth.rows[:4]),
        f"  right lines    {truth.answers}",
        f"  must ask       {truth.must_ask}" if truth.must_ask else f"  must stop      {', '.join(truth.stops)}",
        *(f"  pasted         {line}" for line in verdict.asked),
        "  said:",
        *(f"    {line}" for line in verdict.found.splitlines()),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; the exit status is 1 where something is wrong in silence, crashes, or is not one account."""
    parser = argparse.ArgumentParser(prog="python -m tests.recognition.soak", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="competitions; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the first; default: %(default)s")
    parser.add_argument("--processes", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--show", type=int, default=20, help="kinds of each outcome to list; default: %(default)s")
    parser.add_argument("--only", type=int, help="one seed, shown in full")
    parser.add_argument("--keep", type=Path, help="folder to keep the competition of --only in")
    args = parser.parse_args(argv)
    if args.only is not None:
        return _only(args.only, args.keep)
    begun = time.perf_counter()
    results = []
    for result in run_seeds(range(args.seed, args.seed + args.count), args.processes):
        results.append(result)
        if len(results) % 1000 == 0:
            print(f"{len(results):,} after {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    results.sort(key=lambda result: result[0])
    seconds = time.perf_counter() - begun
    print(f"{len(results):,} competitions, seeds {args.seed} to {args.seed + args.count - 1}, {seconds:.0f} s")
    print("\n".join(report(results, args.show)))
    return int(any(verdict.outcome in FAILURES for _, _, verdict in results))


def _only(seed: int, keep: Path | None) -> int:
    with tempfile.TemporaryDirectory(prefix="recognition-") as folder:
        place = keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        made = compose(seed)
        verdict = judge(made, place, whole=True)
        print("\n".join(shown(made, verdict)))
        if keep:
            print(f"  kept in        {place}")
    return int(verdict.outcome in FAILURES)


if __name__ == "__main__":
    sys.exit(main())
