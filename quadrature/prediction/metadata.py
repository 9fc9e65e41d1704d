"""The metadata of a parquet output: the input's, with pandas' description of the columns brought up to date.

Without it, pandas would read the index as a column, and nullable integers as floats. The description is documented at
https://pandas.pydata.org/docs/development/developer.html.
"""

import json
from collections.abc import Mapping
from contextlib import suppress

import pyarrow as pa

_STALE = (b"quadrature", b"org.apache.spark.sql.parquet.row.metadata")
"""Keys whose content is about the input file alone: our place and digest, and Spark's list of all columns."""


def output_metadata(given: pa.Schema, names: Mapping[str, str], added: pa.Schema) -> dict[bytes, bytes]:
    """Returns the metadata of a table whose columns are renamed by `names`, with the columns of `added` after them."""
    kept = {key: value for key, value in (given.metadata or {}).items() if key not in _STALE}
    if b"pandas" in kept:
        with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):  # it is no such description
            kept[b"pandas"] = json.dumps(_describe(json.loads(kept[b"pandas"]), names, added)).encode()
    return kept


def _describe(tree: dict[str, list[dict[str, object]]], names: Mapping[str, str], added: pa.Schema) -> object:
    """Returns pandas' description with new names and columns. Raises KeyError, TypeError ... if it is not one."""
    for column in tree["columns"]:
        name = str(column.get("field_name", column["name"]))
        if (new := names.get(name, name)) != name:
            column |= {"name": new, "field_name": new}
    index = [names.get(each, each) if isinstance(each, str) else each for each in tree["index_columns"]]
    levels = tree.get("column_indexes", [])
    for level in levels:
        if level["pandas_type"] != "unicode":  # numbers or dates, which the new columns' names are not
            level |= {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    end = len(tree["columns"]) - sum(isinstance(each, str) for each in index)  # the index is described last
    tree["columns"][end:end] = [_describe_column(field, len(levels)) for field in added]
    return tree | {"index_columns": index}


def _describe_column(field: pa.Field, levels: int) -> dict[str, object]:
    """Returns the description of a column; where columns have several levels of names, the lower ones are empty."""
    name = repr((field.name, *[""] * (levels - 1))) if levels > 1 else field.name
    kind = ("float32", "float32") if pa.types.is_floating(field.type) else ("list[float32]", "object")
    return {"name": name, "field_name": field.name, "pandas_type": kind[0], "numpy_type": kind[1], "metadata": None}
