"""Clicks from tables: CSV, JSON and Parquet files in the layouts that people have.

Its modules, each of which imports only those below it::

    dataset     blocks of clicks, sorted by time
    reader      one file to rows of session, item and time
    filter      which rows are clicks
    times       a column of times to ms
    columns     the path of a field to an SQL expression
    sources     a file to an SQL table function
    plain_copy  files that DuckDB cannot read, decompressed or in UTF-8
    files       which files of a folder are tables
    layout      where session, item and time are: presets, ``dataset.toml``, options
    skipped     counts of what was left out

DuckDB reads the files, because it sorts on disk what memory cannot hold, and reads nested, zipped
and partitioned files, each row with its place.
"""
