"""The table of sites as Apache Parquet, which pandas, DuckDB, Polars and spreadsheets open."""

from __future__ import annotations

import datetime
import importlib
import io
import os
from typing import Any

import numpy as np

from multigraft.converters import urls
from multigraft.converters.fleet.parts import EVER
from multigraft.converters.fleet.sites import UNIT, Sites
from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair

_WHOLE = ("files", "frames", "minibatches")
_YES_NO = ("is_settled", "is_strange")


def write_sites(sites: Sites, target: str | os.PathLike[str]) -> None:
    """Write the table, whole or not at all: one row a site and day; what is unknown is null.

    Raises:
        MissingDependencyError: pyarrow is not installed, or broken.
        UsageError: The folder cannot be written.
        DeviceError: The place does not take it.
    """
    try:
        arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    except ImportError as error:
        raise MissingDependencyError(
            f"a table of sites takes pyarrow, which is {how_missing(error)}", repair(error, install_extra("fleet"))
        ) from error
    columns: dict[str, Any] = {
        "site": arrow.array(sites.site, arrow.string()),
        "day": arrow.array(
            [None if day == EVER else datetime.date.fromisoformat(day) for day in sites.day], arrow.date32()
        ),
    }
    for name, values in sites.columns.items():
        if name in _WHOLE or name in _YES_NO:
            columns[name] = arrow.array(values.astype(bool if name in _YES_NO else np.int64))
        else:
            columns[name] = arrow.array(values, arrow.float64(), from_pandas=True)
    columns["drift_of"] = arrow.array([of or None for of in sites.drift_of], arrow.string())
    fields = [
        arrow.field(name, values.type, metadata={"unit": UNIT[name]} if name in UNIT else None)
        for name, values in columns.items()
    ]
    table = arrow.table(list(columns.values()), schema=arrow.schema(fields))
    content = io.BytesIO()
    parquet.write_table(table, content, compression="zstd")
    urls.write(target, content.getvalue())
