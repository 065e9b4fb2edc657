"""Tables as organisers save them: separators, quotes, BOM, newlines, encodings."""

import codecs
import csv
import io
from dataclasses import dataclass

DIALECTS = ("comma", "semicolon", "tab", "pipe", "sep line", "quoted", "crlf")
SEPARATORS = {"semicolon": ";", "tab": "\t", "pipe": "|", "sep line": ";"}
CODECS = ("utf-8", "utf-8-sig", "utf-16", "gb18030", "gbk", "cp949", "cp1252", "cp1254", "latin-1", "big5", "shift_jis")


@dataclass
class Sheet:
    """A table to be written."""

    header: list[str]
    rows: list[list[str]]
    dialect: str = "comma"
    encoding: str = "utf-8"

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        at = self.header.index(name)
        return [row[at] for row in self.rows]

    def add(self, name: str, cells: list[str], at: int | None = None) -> None:
        """One more column, before place `at`."""
        at = len(self.header) if at is None else at
        self.header.insert(at, name)
        for row, cell in zip(self.rows, cells, strict=True):
            row.insert(at, cell)

    def text(self) -> str:
        """What the file says."""
        stream = io.StringIO(newline="")
        if self.dialect == "sep line":
            stream.write("sep=;\n")
        writer = csv.writer(
            stream,
            delimiter=SEPARATORS.get(self.dialect, ","),
            lineterminator="\r\n" if self.dialect == "crlf" else "\n",
            quoting=csv.QUOTE_ALL if self.dialect == "quoted" else csv.QUOTE_MINIMAL,
        )
        writer.writerow(self.header)
        writer.writerows(self.rows)
        return stream.getvalue()

    def content(self) -> bytes:
        """The file's bytes; UTF-8 where the encoding lacks one of its letters."""
        try:
            return self.text().encode(self.encoding)
        except UnicodeEncodeError:
            self.encoding = "utf-8"
            return self.text().encode()


def right_codecs(sheets: list[Sheet]) -> set[str]:
    """Names of the encodings in which all these tables read as they were meant."""
    return {name for name in CODECS if all(_reads(sheet, name) for sheet in sheets)}


def _reads(sheet: Sheet, codec: str) -> bool:
    try:
        return sheet.content().decode(codec) == sheet.text()
    except UnicodeDecodeError:
        return False


def codec_name(text: str) -> str:
    """One name for an encoding that has several."""
    try:
        return codecs.lookup(text).name
    except LookupError:
        return text
