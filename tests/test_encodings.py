"""Tables that are not UTF-8: what they may be is ranked and shown, and the line that is offered reads them."""

import pytest
from conftest import competition_files, csv_bytes, write_zip

from pipeline.archive.archive import open_archive
from pipeline.archive.encodings import EncodingError, checked_encoding, decoded, ranked_encodings
from pipeline.competition.problems import Problems
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout

TEXTS = [
    ("gb18030", ("苹果", "香蕉", "葡萄")), ("gb18030", ("猫", "狗")), ("gb18030", ("健康", "锈病", "白粉病")),
    ("gb18030", ("正常", "异常")), ("cp949", ("사과", "바나나", "포도")), ("cp949", ("정상", "불량")),
    ("shift_jis", ("りんご", "バナナ", "ぶどう")), ("shift_jis", ("林檎", "葡萄", "桃")), ("euc_jp", ("りんご", "バナナ")),
    ("big5", ("蘋果", "香蕉", "葡萄")), ("cp1252", ("café", "thé", "crème brûlée")), ("cp1252", ("Übung", "Straße")),
    ("cp1252", ("niño", "árbol")), ("cp1251", ("дуб", "ель", "берёза")), ("cp1251", ("Кошка", "Собака")),
    ("koi8_r", ("Кошка", "Собака")), ("cp1250", ("dąb", "świerk", "jodła")), ("cp1254", ("meşe", "köknar", "ışık")),
    ("cp1253", ("δρυς", "ελάτη")), ("mac_roman", ("Äpfel", "Nüsse")), ("cp866", ("Кошка", "Собака")),
]  # fmt: skip


@pytest.mark.parametrize(("encoding", "words"), TEXTS)
def test_the_encoding_in_which_the_text_is_text_comes_first(encoding, words):
    content = csv_bytes(("id", "label"), [(f"{n:03d}", words[n % len(words)]) for n in range(36)]).decode()
    name, line = ranked_encodings(content.encode(encoding))[0]
    assert name == encoding
    assert line == "000," + words[0]


def localised(words, encodings):
    """A competition whose labels are these words, each table in its own encoding."""
    files = competition_files(labels=words)
    return files | {name: files[name].decode().encode(encoding) for name, encoding in encodings.items()}


def layout_of(path, files, **wishes):
    with open_archive(write_zip(path / "raw.zip", files)) as archive:
        return read_layout(archive, Problems(), Overrides(**wishes))


CHINESE = ("苹果", "香蕉", "葡萄")


def test_the_line_that_is_offered_settles_it(tmp_path):
    files = localised(CHINESE, {"train.csv": "gbk", "sample_submission.csv": "gbk"})
    with pytest.raises(ValueError, match=r"(?s)train.csv is not UTF-8.*competition.encoding: gb18030    # 000,苹果"):
        layout_of(tmp_path, files)
    assert set(layout_of(tmp_path, files, encoding="gb18030").target.classes) == set(CHINESE)


def test_tables_that_are_utf8_stay_so_under_another_encoding(tmp_path):
    files = localised(CHINESE, {"train.csv": "gbk"})
    assert set(layout_of(tmp_path, files, encoding="gbk").target.classes) == set(CHINESE)


def test_each_table_may_have_its_own(tmp_path):
    words = ("苹果", "りんご", "사과")
    files = localised(CHINESE, {"train.csv": "gbk", "sample_submission.csv": "utf-16"})
    files["extra.csv"] = csv_bytes(("a", "b"), [(word, 1) for word in words[2:]]).decode().encode("cp949")
    layout = layout_of(tmp_path, files, encoding="train.csv=gb18030, extra.csv=cp949")
    assert set(layout.target.classes) == set(CHINESE)
    assert not [warning for warning in layout.warnings if "extra.csv" in warning]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_read_without_being_named(encoding):
    assert decoded("id,label\n1,été\n".encode(encoding), "t.csv") == "id,label\n1,été\n"


def test_what_no_encoding_fits_has_no_line():
    with pytest.raises(EncodingError, match=r"byte 0x81 in line 2.*save it as UTF-8$"):
        decoded(b"id,label\n1,\x81\xff\x00\x81", "t.csv")


@pytest.mark.parametrize("encoding", ["rot13", "klingon", "a.csv=klingon", ""])
def test_an_encoding_that_is_none_is_refused(encoding):
    with pytest.raises(ValueError, match="competition.encoding"):
        checked_encoding(encoding)
