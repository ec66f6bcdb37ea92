"""Clicks from files, and a simulated shop."""

from ader_stream.datasets.dataset import Block, Dataset, count_clicks
from ader_stream.datasets.detect import open_dataset
from ader_stream.datasets.folder import read_folder_sessions
from ader_stream.datasets.shop import SimulatedShop
from ader_stream.datasets.shop_catalogue import ShopSize

__all__ = [
    "Block",
    "Dataset",
    "ShopSize",
    "SimulatedShop",
    "count_clicks",
    "open_dataset",
    "read_folder_sessions",
]
