"""Which image each id of a sample submission means: those that ingest saw, and others found as it found these."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.archive.archive import Archive
from pipeline.base import console
from pipeline.base.files import read_table
from pipeline.base.texts import Texts
from pipeline.bundle.contents import KNOWN_COLUMNS, Settings
from pipeline.tables.asked import asked_table, rows_asked
from pipeline.tables.image_names import image_names
from pipeline.tables.image_paths import ImageIndex, columns_of, find_matches, images_of
from pipeline.tables.table import AUTO, Table
from pipeline.tables.table_files import read_tables
from pipeline.tables.words import TEST, TRAIN, role_of, role_of_folders

MOST_LACKING = 0.5  # of the ids: with more, the images lie where nobody looks, and no answer is worth its submission


def members_of_ids(
    archive: Archive, image_ids: Sequence[str], id_column: str, known: Path, settings: Settings, *, lenient: bool
) -> list[str]:
    """The image of each id; '' for those of which ingest saw none.

    known: the bundle's test.csv; settings: of the run whose submission it is. Raises ValueError unless each other id
    has exactly one image; `lenient`: unless half of them have, and the others get ''; those of which ingest saw none
    are sought as well, as a rerun's images may be there.
    """
    table = read_table(known, KNOWN_COLUMNS)
    path_of = dict(zip(*table.values(), strict=True))
    unseen = {name for name, path in path_of.items() if not path}
    members = [path_of[name] if path_of.get(name, "") in archive else "" for name in image_ids]
    sought = [at for at, name in enumerate(image_ids) if not members[at] and (lenient or name not in unseen)]
    if sought:
        found = _found(archive, Texts(image_ids), id_column, settings)
        for at in sought:
            members[at] = found[at]
    odd = [image_ids[at] for at in sought if not members[at] and image_ids[at] not in unseen]
    if odd:
        said = f"{archive.path}: {len(odd)} of {len(image_ids)} ids of the sample have no image, or several, "
        said += f"first {odd[:3]}"
        if not lenient or len(odd) > MOST_LACKING * len(image_ids):
            raise ValueError(f"{said}; give the folder or archive that holds the test images")
        console.say(f"warning: {said}; they get the training images' shares")
    return members


def _found(archive: Archive, image_ids: Texts, id_column: str, settings: Settings) -> list[str]:
    """By the template that ingest found; where it leads to few, by looking, but not among the training images."""
    index = ImageIndex(image_names(archive))
    asked = asked_table(id_column, image_ids, _test_table(archive, image_ids, id_column, index, settings))
    numbers, whole = np.full(len(image_ids), -1), index
    if settings.test_images != AUTO and set(columns_of(settings.test_images)) <= set(asked.header):
        numbers = images_of(settings.test_images, asked, index)
    if (numbers >= 0).mean() < 1 - MOST_LACKING:
        of_training = [role_of_folders(path.rpartition("/")[0]) == TRAIN for path in index.paths]
        index = index.without(np.array(of_training, dtype=bool))
        matches = find_matches(asked, index, role=TEST)
        numbers, whole = (images_of(matches[0].template, asked, index), index) if matches else (numbers, whole)
    return [whole.names[number] if number >= 0 else "" for number in numbers.tolist()]


def _test_table(
    archive: Archive, image_ids: Texts, id_column: str, index: ImageIndex, settings: Settings
) -> Table | None:
    """The organiser's table of the test images, if it holds these ids: the one that ingest read, else one that has the
    columns of its template (images.csv, of training images too), else one called so.
    """
    tables = read_tables(archive, index, encoding=settings.encoding, header=settings.header).tables
    named = [tables[settings.test_table]] if settings.test_table in tables else []
    stated = {*columns_of(settings.test_images)} - {id_column}
    of_template = [table for table in tables.values() if stated and stated <= {*table.header}]
    likely = [*named, *of_template, *(table for table in tables.values() if role_of(table.stem) == TEST)]
    return next((table for table in likely if rows_asked(table, image_ids) is not None), None)
