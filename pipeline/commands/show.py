"""One page that shows this run, or two runs beside each other; opens it, or says where it lies.

The page of stage `report`, and with it what is not of the run itself: what was sent and what the site said, seconds,
this machine. A run to compare with: a folder, a git revision, a DVC experiment, or a submission's row in the ledger.
"""

import argparse
import functools
import http.server
import os
import platform
import sys
import webbrowser
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.base.files import read_json, sha256_of, write_bytes
from pipeline.base.params import load_folds, load_params
from pipeline.commands import places
from pipeline.commands.comparison import compared_runs, comparison_page, difference_words, differing_params
from pipeline.competition.schema import read_dealt, read_schema
from pipeline.competition.store import read_store
from pipeline.leaderboard.judgement import judged, words
from pipeline.leaderboard.ledger import Entry, Ledger
from pipeline.panels.report import run_page
from pipeline.panels.run import Run, read_run
from pipeline.report.svg import Chart, Dot, chart, legend, shown

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "pillow", "dvc")
LOOPBACK = "127.0.0.1"
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")  # of Linux: without one there is no browser to open


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="one: compare this run with it; two: compare these")
    places.add_path(parser, "--out", places.SHOWN, "HTML to write")
    places.add_path(parser, "--ledger", places.LEDGER)
    parser.add_argument("--serve", action="store_true", help=f"serve it on {LOOPBACK} until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="with --serve; default: one that is free")
    parser.add_argument("--no-open", action="store_true", help="only write it")


def run(args: argparse.Namespace) -> None:
    """Write the page, then open or serve it."""
    if not 0 <= args.port < 1 << 16:
        raise ValueError(f"--port is {args.port}; allowed: 0 (one that is free) to 65535")
    if len(args.runs) > 2:
        raise ValueError(f"{len(args.runs)} runs are named; name one, to compare this run with it, or two")
    if args.runs:
        content = _comparison((args.runs[0], args.runs[1]) if len(args.runs) == 2 else (".", args.runs[0]), args.ledger)
    else:
        content = _page(args.ledger)
    write_bytes(args.out, content)
    console.say(f"{args.out}: {len(content) / 1e6:.1f} MB")
    if args.serve:
        _serve(args.out, args.port)
    elif not args.no_open:
        _open(args.out)


def _page(ledger: Path) -> bytes:
    made = vars(places.REPORTED) | {"members": places.PARAMS}  # a run without members may lack their folder
    missing = [path for path in made.values() if not path.exists()]
    if missing:
        raise ValueError(f"{missing[0]} is not there yet; run `python -m pipeline folds`, then `dvc repro`")
    found = read_run(places.REPORTED)
    _say_what_changed(found)
    entries = Ledger(ledger).submissions()
    own = [entry for entry in entries if entry.sha256 == found.receipt["sha256"]]
    of_site = [entry for entry in entries if entries and (entry.site, entry.competition) == _where(own or entries)]
    return run_page(
        found, submissions=_submissions(of_site) if of_site else None, sent=[_sent(entry) for entry in own],
        clock=_seconds(found) | _machine(),
    )  # fmt: skip


def _where(entries: Sequence[Entry]) -> tuple[str, str]:
    return entries[-1].site, entries[-1].competition


def _say_what_changed(found: Run) -> None:
    """The page is about the run that is there, whatever params.yaml says by now."""
    keys = [key for key, *_ in differing_params(load_params(places.PARAMS), found.receipt["params"])]
    if keys:
        which = f"{len(keys)} key{'s' if len(keys) > 1 else ''}: {', '.join(keys[:3])}{', …' if len(keys) > 3 else ''}"
        console.say(
            f"warning: {places.PARAMS} is not that of the run shown ({which}); `dvc repro` runs what it says by now"
        )


def _sent(entry: Entry) -> str:
    scores = "".join(
        f", {name} score {value:.5f}"
        for name, value in (("public", entry.public_score), ("private", entry.private_score))
        if value is not None
    )
    where = " ".join(filter(None, (entry.site, entry.competition)))
    return f"Sent {entry.time[:16].replace('T', ' ')} UTC to {where} (row {entry.number}): {entry.status}{scores}."


def _submissions(entries: Sequence[Entry]) -> dict[str, Any]:
    scored = judged(entries)
    dots = []
    for colour, name in enumerate(("public", "private")):
        for entry in scored:
            value = getattr(entry, f"{name}_score")
            if value is not None and entry.cv_score is not None:
                tip = f"row {entry.number}, {entry.message}: CV {shown(entry.cv_score)}, {name} {shown(value)}"
                dots.append(Dot(entry.cv_score, value, tip, colour, x_error=entry.cv_standard_error or 0.0))
    order = [
        Dot(entry.number, entry.cv_score, f"row {entry.number}, CV {shown(entry.cv_score)}", 2,
            y_error=entry.cv_standard_error or 0.0)
        for entry in scored if entry.cv_score is not None
    ]  # fmt: skip
    order += [
        Dot(entry.number, entry.public_score, f"row {entry.number}, public {shown(entry.public_score)}", 0)
        for entry in scored if entry.public_score is not None
    ]  # fmt: skip
    metric = scored[-1].metric if scored else "score"
    agreement = Chart("cross-validation against the leaderboard", f"{metric}, cross-validation",
                      "leaderboard", dots=dots, diagonal=True)  # fmt: skip
    course = Chart("scores by submission", "row of the ledger", metric, dots=order, whole_x=True)
    return {
        "charts": [
            ("Against the leaderboard", legend([("public", 0, False), ("private", 1, False)]) + chart(agreement),
             "Bars: standard error over folds; on the line both are equal."),
            ("By submission", legend([("cross-validation", 2, False), ("public", 0, False)]) + chart(course),
             "Bars: standard error over folds."),
        ],
        "words": words(entries),
        "rows": [
            {"number": entry.number, "time": entry.time[:16].replace("T", " "), "status": entry.status,
             "cv": entry.cv_score, "error": entry.cv_standard_error, "public": entry.public_score,
             "private": entry.private_score, "message": entry.message}
            for entry in entries
        ],
    }  # fmt: skip


def _seconds(found: Run) -> dict[str, str]:
    """How long the folds took, where they were trained here."""
    noted = {}
    for fold in found.folds:
        path = places.SECONDS / f"{fold}.json"
        if path.is_file():
            note = read_json(path)
            if note["oof_sha256"] == sha256_of(places.RUN["oof"] / f"{fold}.npz"):
                noted[fold] = note["seconds"]
    if not noted:
        return {}
    each = ", ".join(f"fold {fold} {seconds:,.1f}" for fold, seconds in noted.items())
    return {"seconds of training": f"{sum(noted.values()):,.1f} ({each})"}


def _machine() -> dict[str, str]:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return {
        "shown on": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions there": f"Python {platform.python_version()}, {versions}",
    }


def _comparison(sources: tuple[str, str], ledger: Path) -> bytes:
    schema = read_schema(places.RUN["schema"])
    table = places.RUN["train_table"]
    dealt = read_dealt(table, places.RUN["folds"], schema.target, load_folds(places.PARAMS))
    images, description = places.RUN["train_images"], places.RUN["train_description"]
    store, _ = read_store(images, description, num_rows=dealt.num_rows, table=table)
    first, second = compared_runs(sources, Ledger(ledger), Path.cwd(), schema, dealt)
    console.say(f"{first.name} against {second.name}: {schema.metric} {difference_words(first, second, schema.metric)}")
    return comparison_page(first, second, schema, dealt, store)


def _open(page: Path) -> None:
    address = page.resolve().as_uri()
    seen = sys.platform != "linux" or any(os.environ.get(name) for name in DISPLAYS)
    if not (seen and webbrowser.open(address)):
        console.say(f"no browser to open here: open {address}, or `python -m pipeline show --serve`")


class _OnePage(http.server.BaseHTTPRequestHandler):
    """The page at /, and nothing else."""

    def __init__(self, content: bytes, *args: Any) -> None:
        self._content = content
        super().__init__(*args)

    def do_GET(self) -> None:
        found = self.path in ("/", "/index.html")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self._content) if found else 0))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if found:
            self.wfile.write(self._content)

    def log_message(self, *_: Any) -> None:
        """Nothing: who looks at a page is no news."""


def _serve(page: Path, port: int) -> None:
    """Until Ctrl-C. Raises OSError where the port is taken."""
    handler = functools.partial(_OnePage, page.read_bytes())
    with http.server.ThreadingHTTPServer((LOOPBACK, port), handler) as server:
        port = server.server_address[1]
        console.say(
            f"http://{LOOPBACK}:{port}/ until Ctrl-C; from another machine first: "
            f"ssh -N -L {port}:{LOOPBACK}:{port} {platform.node()}"
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.say("stopped")
