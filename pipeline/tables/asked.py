"""The ids that a sample submission asks for, with what the organiser's test table says of them."""

from collections.abc import Sequence

import numpy as np

from pipeline.base.texts import Texts, joined_texts
from pipeline.tables.image_paths import Match
from pipeline.tables.table import Table, first_counted, id_table, rows_with

MIN_SHARE = 0.5  # of a table's rows must lead to images, or hold ids, or the table is about something else


def lead_for_most(matches: Sequence[Match], num_rows: int) -> bool:
    """Whether the best of these matches, if any, has an image for at least half of so many rows."""
    return bool(matches) and matches[0].num_found >= MIN_SHARE * num_rows


def column_holding(table: Table, ids: set[str]) -> str | None:
    """The column that holds these ids: all of them, or at least half, whichever column has most.

    Ids that count the rows must all be there: half of 0 to 5 stand among any other small numbers too.
    """
    counts = {column: len(ids.intersection(table.column(column))) for column in table.header if column}
    best = max(counts, key=lambda column: counts[column], default=None)
    least = len(ids) * (1 if len(ids) == table.num_rows and first_counted(ids) is not None else MIN_SHARE)
    return best if best is not None and counts[best] >= least else None


def rows_for(table: Table, column: str, ids: Texts) -> Table:
    """The table's row of each id, in this order; blank where it has none."""
    rows = rows_with(table.column(column), ids)
    with_blank = tuple(joined_texts([cells, Texts([""])]) for cells in table.cells)
    return Table(table.name, table.header, with_blank).take(np.where(rows < 0, table.num_rows, rows))


def rows_asked(table: Table, ids: Texts) -> Table | None:
    """The table's row of each id: by the column that holds them, else by number where they count its rows, from 0 or 1.

    None where neither is so.
    """
    column = column_holding(table, set(ids))
    if column is not None:
        return rows_for(table, column, ids)
    first = first_counted(ids) if len(ids) == table.num_rows else None
    return None if first is None else table.take(np.array([int(cell) for cell in ids]) - first)


def asked_table(id_column: str, ids: Texts, table: Table | None) -> Table:
    """The ids, a row each, and what `table` says of them, where it does."""
    own = id_table(id_column, ids)
    rows = rows_asked(table, ids) if table is not None else None
    if rows is None:
        return own
    others = [at for at, name in enumerate(rows.header) if name != id_column]
    header = (*own.header, *(rows.header[at] for at in others))
    return Table(own.name, header, (*own.cells, *(rows.cells[at] for at in others)))
