"""What a TIFF's directories say (TIFF 6.0, section 2), for what Pillow refuses in other words or misreads."""

import struct
from itertools import islice

WIDTH, HEIGHT, BITS, BANDS, SUBFILE, SAMPLE_FORMAT = 256, 257, 258, 277, 254, 339
ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point"}
SHORT, LONG = 3, 4
MAX_BANDS = 4  # red, green, blue, alpha; or four inks
MAX_PAGES = 64
NO_PICTURE = 1 | 4  # a smaller copy of another page, or its mask

Page = dict[int, int]  # tag -> its first value


def pages_of(content: bytes) -> list[Page]:
    """The first pages; none where it is no TIFF, or one that cannot be followed."""
    order = ORDERS.get(content[:4])
    if order is None:
        return []
    pages: list[Page] = []
    try:
        (at,) = struct.unpack_from(order + "I", content, 4)
        while at and len(pages) < MAX_PAGES:
            page, at = _page(content, at, order)
            pages.append(page)
    except struct.error:
        return pages
    return pages


def _page(content: bytes, at: int, order: str) -> tuple[Page, int]:
    """(the page, where the next one stands; 0 for none)."""
    (count,) = struct.unpack_from(order + "H", content, at)
    page: Page = {}
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", content, place)
        if kind in (SHORT, LONG):
            code, most = ("H", 2) if kind == SHORT else ("I", 1)
            where = place + 8 if number <= most else struct.unpack_from(order + "I", content, place + 8)[0]
            (page[tag],) = struct.unpack_from(order + code, content, where)
    (following,) = struct.unpack_from(order + "I", content, at + 2 + 12 * count)
    return page, following


def why_not(content: bytes) -> str:
    """Why this TIFF is no picture to be shown: its bands, its numbers, its pages; '' where nothing is against it."""
    pages = pages_of(content)
    if not pages:
        return ""
    bands = pages[0].get(BANDS, 1)
    if bands > MAX_BANDS:
        return f"it is a TIFF of {bands} bands ({described(content)}); pick three and write them as 8-bit PNG"
    if pages[0].get(SAMPLE_FORMAT) == 2:
        return f"it is a TIFF of signed numbers ({described(content)}): which is black is not said; write 8-bit PNG"
    others = [page for page in pages[1:] if not page.get(SUBFILE, 0) & NO_PICTURE]
    if others:
        sizes = [f"{page.get(WIDTH, 0)}x{page.get(HEIGHT, 0)}" for page in islice([pages[0], *others], 3)]
        return f"it is a TIFF of {1 + len(others)} pages ({', '.join(sizes)}): which one counts cannot be known"
    return ""


def is_deep_colour(content: bytes) -> bool:
    """Whether its first page has several bands of 16 bits."""
    page = next(iter(pages_of(content)), Page())
    return page.get(BITS, 1) == 16 and page.get(BANDS, 1) > 1


def described(content: bytes) -> str:
    """Bands, bits and kind of number of a TIFF; '' for what is none."""
    page = next(iter(pages_of(content)), None)
    if page is None:
        return ""
    kind = FORMATS.get(page.get(SAMPLE_FORMAT, 1), "odd")
    return f"{page.get(BANDS, 1)} of {page.get(BITS, 1)} bits, {kind}"
