"""The audit as one HTML page that needs no other file: findings in a table, images beside each other."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.competition.class_findings import Finding

SHOWN_SIDE = 96  # pixels on the page; stored larger, a thumbnail is shrunk to it
STYLE = """
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; background: #fff;
  font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK KR", "Malgun Gothic", "Apple SD Gothic Neo", sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .2rem; }
p.note { margin: 0 0 .8rem; color: #666; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem; border-bottom: 1px solid #e3e3e3; }
th { color: #666; font-weight: 600; } td.count { text-align: right; font-variant-numeric: tabular-nums; }
td.first { overflow-wrap: anywhere; max-width: 22rem; }
.stop, .warn, span.note { border-radius: .3rem; padding: .1rem .45rem; font-size: .85em; font-weight: 600; }
.stop { background: #fbdcdc; color: #8f1414; } .warn { background: #fdf0cf; color: #6f5200; }
.gallery { display: flex; flex-wrap: wrap; gap: .6rem; }
.group { display: flex; flex-wrap: wrap; gap: .4rem; padding: .4rem; border: 1px solid #e3e3e3; border-radius: .4rem; }
figure { margin: 0; width: 96px; }
img { width: 96px; height: 96px; display: block; image-rendering: pixelated; background: #eee; }
figcaption { font-size: .75rem; line-height: 1.3; overflow-wrap: anywhere; color: #444; margin-top: .2rem; }
"""


@dataclass(frozen=True)
class Picture:
    """One thumbnail with the text under it."""

    pixels: np.ndarray  # (S, S, 3) uint8
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Groups of pictures under one heading; a group stands in one frame."""

    title: str
    note: str
    groups: Sequence[Sequence[Picture]]
    most: int = 24  # pictures on the page; see `first_groups`
    count: int | None = None  # groups that there are, where `groups` has the first of them alone


def audit_page(title: str, findings: Sequence[Finding], galleries: Sequence[Gallery]) -> bytes:
    """UTF-8 HTML, the same bytes for the same arguments; all text is escaped. Empty galleries are left out."""
    body = "".join([_findings(findings), *(_gallery(gallery) for gallery in galleries if gallery.groups)])
    heading = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{heading}</title>\n<style>{STYLE}</style>\n'
        f"</head>\n<body>\n<h1>{heading}</h1>\n{body}</body>\n</html>\n"
    ).encode()


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return '<p class="note">Nothing to report.</p>\n'
    ordered = sorted(findings, key=lambda finding: ("stop", "warn", "note").index(finding.severity))
    header = "".join(f"<th>{name}</th>" for name in ("severity", "found", "count", "first", "what to do"))
    rows = "\n".join(_row(finding) for finding in ordered)
    return f"<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n"


def _row(finding: Finding) -> str:
    severity = html.escape(finding.severity)
    first = "<br>".join(map(html.escape, finding.first)) + ("<br>…" if finding.count > len(finding.first) else "")
    return (
        f'<tr><td><span class="{severity}">{severity}</span></td><td>{html.escape(finding.kind)}</td>'
        f'<td class="count">{finding.count:,}</td><td class="first">{first}</td>'
        f"<td>{html.escape(finding.remedy)}</td></tr>"
    )


def first_groups(groups: Sequence[Sequence[Any]], most: int) -> list[Sequence[Any]]:
    """Whole groups from the first, of `most` members together; the first is cut to fit."""
    found: list[Sequence[Any]] = []
    room = most
    for group in groups:
        if found and len(group) > room:
            break
        found.append(group[:room])
        room -= len(found[-1])
    return found


def _gallery(gallery: Gallery) -> str:
    shown = first_groups(gallery.groups, gallery.most)
    count = gallery.count or len(gallery.groups)
    said = "" if len(shown) == count else f" The first {len(shown)} of {count:,}."
    framed = "\n".join(f'<div class="group">{"".join(map(_figure, group))}</div>' for group in shown)
    return (
        f'<h2>{html.escape(gallery.title)}</h2>\n<p class="note">{html.escape(gallery.note)}{said}</p>\n'
        f'<div class="gallery">\n{framed}\n</div>\n'
    )


def _figure(picture: Picture) -> str:
    caption = html.escape(picture.caption)
    source = base64.b64encode(_png(picture.pixels)).decode()
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{source}"><figcaption>{caption}</figcaption></figure>'
    )


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    if image.width > SHOWN_SIDE:
        image = image.resize((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
