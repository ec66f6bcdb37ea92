"""Clicks from files, and a simulated shop."""

from ader_stream.datasets.dataset import Block, Dataset, Extent, read_through
from ader_stream.datasets.detect import open_dataset
from ader_stream.datasets.folder import read_folder_sessions
from ader_stream.datasets.shop import SimulatedShop
from ader_stream.datasets.shop_catalogue import ShopSize
from ader_stream.datasets.tables.layout import TableLayout, layout_for

__all__ = [
    "Block",
    "Dataset",
    "Extent",
    "ShopSize",
    "SimulatedShop",
    "TableLayout",
    "layout_for",
    "open_dataset",
    "read_folder_sessions",
    "read_through",
]
