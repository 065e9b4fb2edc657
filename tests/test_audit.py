"""The audit: what each finding says, and the page that shows it."""

import base64
import dataclasses
import io
import json
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import encoded, image_of
from PIL import Image

from pipeline.audit.findings import (
    FORMAT_REMEDIES,
    class_examples,
    conflicting,
    copy_findings,
    format_findings,
    joined,
    leaked,
    name_findings,
    same_bytes,
    search_findings,
    turned_findings,
)
from pipeline.audit.page import Gallery, Picture, audit_page
from pipeline.competition.class_findings import Finding, class_findings
from pipeline.images.decode import decode_image
from pipeline.images.store_writer import write_store

DECOMPOSED = unicodedata.normalize("NFD", "새")


def brief(findings):
    return [(finding.kind, finding.severity, finding.count, finding.first) for finding in findings]


@pytest.mark.parametrize(
    ("paths", "kind", "first"),
    [
        (["train/A.png", "train/a.png"], "names that differ by case alone", "train/A.png / train/a.png"),
        (["x/STRASSE.png", "x/straße.png"], "names that differ by case alone", "x/STRASSE.png / x/straße.png"),
        (["Train/a.png", "train/a.png"], "names that differ by case alone", "Train/a.png / train/a.png"),
        (
            [f"x/{DECOMPOSED}.png", "x/새.png"],
            "names that differ by Unicode form alone",
            f"x/{DECOMPOSED}.png (not NFC) / x/새.png (NFC)",
        ),
        (["cat/1.png", "dog/1.png"], "one file name in several folders", "cat/1.png / dog/1.png"),
    ],
)
def test_names_that_collide_are_named(paths, kind, first):
    assert brief(name_findings([*paths, "train/other.png"])) == [(kind, "warn", 1, (first,))]
    assert name_findings(paths[:1] * 2) == [], "one image in two rows is no collision"


def test_small_classes_are_named_and_an_only_image_stops():
    num_images = {"none": 0, "one": 1, "two": 2, "four": 4, "five": 5}
    tiny = ("classes of fewer than 2 images", "stop", 2, ("'none' x0", "'one' x1"))
    small = ("classes of fewer than 5 images", "warn", 2, ("'two' x2", "'four' x4"))
    assert brief(class_findings(num_images, exclusive=True)) == [tiny, small]
    assert [finding.severity for finding in class_findings(num_images, exclusive=False)] == ["warn", "warn"]
    assert class_findings({"five": 5}, exclusive=True) == []


def test_copies_are_told_by_what_they_spoil():
    labels = ["cat", "cat", "dog", "dog", "cat"]
    groups = [[(0, 0), (0, 1)], [(0, 2), (0, 4), (1, 1)], [(1, 0), (1, 2)]]
    in_train = [[(0, 0), (0, 1)], [(0, 2), (0, 4)]]
    found = copy_findings(in_train, leaked(groups), train_ids=list("abcde"), test_ids=list("xyz"), labels=labels)
    assert brief(found) == [
        ("copies in train", "warn", 2, ("a = b", "c = e")),
        ("copies with other labels", "warn", 1, ("e (cat) / c (dog)",)),
        ("test images also in train", "warn", 1, ("y = c",)),
    ]
    assert conflicting(groups, labels) == [[(0, 2), (0, 4)]]
    assert leaked(groups) == [groups[1]]
    assert copy_findings([], [], train_ids=[], test_ids=[], labels=[]) == []


def test_turned_and_mirrored_copies_are_named_and_so_is_what_becomes_of_them():
    ids = {"train_ids": ["a", "b", "c"], "test_ids": ["x"], "labels": ["cat", "dog", "cat"]}
    for kept, said in ((True, "split keeps those in train in one fold"), (False, "no folds can hold apart")):
        found = turned_findings([[(0, 1), (1, 0)], [(0, 0), (0, 2)]], kept=kept, **ids)
        assert brief(found) == [("copies that are turned or mirrored", "warn", 2, ("b = x", "a = c"))]
        assert said in found[0].remedy
    found = turned_findings([[(0, 0), (0, 1)]], kept=True, **ids)
    assert brief(found)[1:] == [("turned or mirrored copies with other labels", "warn", 1, ("a (cat) / b (dog)",))]
    assert turned_findings([], kept=True, **ids) == []


def test_groups_that_share_an_image_are_joined():
    exact = same_bytes([["p", "q", "p", "", ""], ["q", "r"]])
    assert exact == [[(0, 0), (0, 2)], [(0, 1), (1, 0)]]
    assert joined(exact, [[(0, 4), (1, 1)], [(0, 2), (0, 1)]]) == [
        [(0, 0), (0, 1), (0, 2), (1, 0)],
        [(0, 4), (1, 1)],
    ]
    assert joined([], []) == []


def test_formats_are_named_and_upscaled_only_where_most_are():
    names = [f"{row}.png" for row in range(8)]
    found = format_findings({"CMYK": [1, 2, 3, 4], "upscaled": [0, 1, 2, 3]}, names)
    assert brief(found) == [("CMYK images", "warn", 4, ("1.png", "2.png", "3.png"))]
    found = format_findings({"upscaled": [0, 1, 2, 3, 4]}, names)
    assert brief(found) == [("upscaled images", "warn", 5, ("0.png", "1.png", "2.png"))]


def in_mode(mode, size=(30, 20), **options):
    """A PNG or JPEG of this mode, not square and not extreme."""
    rows = np.arange(size[0] * size[1]).reshape(size[1], size[0])
    image = Image.fromarray((rows * 100).astype(np.uint16)) if mode == "I;16" else Image.new(mode, size, 1)
    stream = io.BytesIO()
    image.save(stream, format="JPEG" if mode == "CMYK" else "PNG", **options)
    return stream.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif}


ODD = {
    "16-bit": in_mode("I;16"),
    "CMYK": in_mode("CMYK"),
    "transparent": in_mode("P", transparency=1),
    "EXIF-rotated": in_mode("RGB", **turned()),
    "upscaled": in_mode("RGB", (40, 15)),
    "extreme aspect": in_mode("RGB", (62, 20)),
}


# in test_decode
OF_OTHER_TESTS = ("8-bit in", "10-bit in", "12-bit in", "14-bit in", "16-bit above", "shaped by alpha", "with a band")


def test_each_oddity_is_noted_with_its_row_and_has_a_remedy(tmp_path):
    files = ODD | {"plain": in_mode("RGB", (60, 20))}
    report = write_store(tmp_path / "x.npy", list(files), files.__getitem__, size=16, fit="squash", title="")
    assert {name: list(rows) for name, rows in report.oddities.items()} == {name: [row] for row, name in enumerate(ODD)}
    assert set(ODD) == {name for name in FORMAT_REMEDIES if not name.startswith(OF_OTHER_TESTS)}
    assert [finding.kind for finding in format_findings(report.oddities, list(files))] == sorted(
        f"{name} images" for name in ODD if name != "upscaled"
    )


def test_alpha_that_hides_nothing_is_not_odd():
    pixels = np.full((16, 16, 4), 255, np.uint8)
    assert decode_image(encoded(pixels), 16, "squash").oddities == ()
    pixels[3, 3, 3], pixels[0, 0, 0] = 254, 0
    assert decode_image(encoded(pixels), 16, "squash").oddities == ("transparent",)


def test_an_example_of_each_class_that_has_one():
    labels = [("a", "b"), ("b",), (), ("a",)]
    drawn = [class_examples(labels, ["a", "b", "c"], seed=seed) for seed in range(20)]
    assert {example["a"] for example in drawn} == {0, 3}
    assert {example["b"] for example in drawn} == {0, 1}
    assert all(list(example) == ["a", "b"] for example in drawn)
    assert drawn[4] == class_examples(labels, ["a", "b", "c"], seed=4)


class Outline(HTMLParser):
    """Checks that tags close in order, and keeps texts, sources and tags."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.sources, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name == "src"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def page_of(groups, most=24):
    findings = [
        Finding("second", "warn", 4, ("<i>",), "a & b"),
        Finding("first", "stop", 1, ("x",), "'y'"),
    ]
    return audit_page("개 <b>", findings, [Gallery("Copies", "note", groups, most), Gallery("None", "", [])])


def outline_of(page):
    outline = Outline()
    outline.feed(page.decode("utf-8"))
    outline.close()
    assert outline.open == []
    return outline


def test_the_page_is_whole_and_all_text_is_escaped():
    pictures = [Picture(image_of(0, number), f"<script>새 {number}</script>") for number in range(2)]
    page = page_of([pictures])
    outline = outline_of(page)
    assert not {"script", "b", "i"} & set(outline.tags)
    assert {"개 <b>", "<i>", "a & b", "'y'", "<script>새 1</script>"} <= set(outline.texts)
    assert outline.texts.index("first") < outline.texts.index("second"), "what stops comes first"
    assert "None" not in outline.texts
    assert all(source.startswith("data:image/png;base64,") for source in outline.sources)
    for picture, source in zip(pictures, outline.sources, strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        assert (np.asarray(shown) == picture.pixels).all()
    assert page == page_of([pictures])


def test_a_gallery_is_cut_between_groups_unless_the_first_is_too_large():
    groups = [[Picture(image_of(0, 0), "a")] * 3] * 3
    for most, num_pictures, note in (
        (9, 9, "note"),
        (8, 6, "note The first 2 of 3."),
        (2, 2, "note The first 1 of 3."),
    ):
        outline = outline_of(page_of(groups, most))
        assert len(outline.sources) == num_pictures
        assert note in outline.texts


def test_a_large_picture_is_shrunk():
    source = outline_of(page_of([[Picture(image_of(0, 0, 200), "a")]])).sources[0]
    assert Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size == (96, 96)


def test_no_findings_say_so_and_findings_are_fit_for_json():
    assert "Nothing to report." in outline_of(audit_page("x", [], [])).texts
    finding = Finding("second", "warn", 4, ("새",), "a & b")
    assert json.loads(json.dumps(dataclasses.asdict(finding)))["first"] == ["새"]


def test_what_a_search_for_near_copies_leaves_apart_is_counted_and_named():
    ids = {"train_ids": list("abcde"), "test_ids": ["x"]}
    found = search_findings([[(0, 0), (0, 2), (1, 0)], [(0, 3), (0, 4)]], [(0, 1)], [(0, 1), (1, 0)], **ids)
    assert brief(found) == [
        ("near-copies that are not kept together", "warn", 5, ("a", "c", "x")),
        ("images too much like many others to look for all near-copies", "warn", 1, ("b",)),
        ("images not compared for near-copies", "note", 2, ("b", "x")),
    ]
    assert search_findings([], [], [], **ids) == []
