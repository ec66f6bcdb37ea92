"""Tables of README and documentation that measurements write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class PageTable:
    """The place of a table in a page: between two marks, of which the first names its source.

    Parameters
    ----------
    kind, source
        What the marks say.
    page
        The file that holds them.
    """

    kind: str
    source: str
    page: Path = BENCHMARKS

    def marked(self, table: str) -> str:
        """Return the table between its marks.

        >>> print(PageTable("speed", "python -m speed").marked("| 1 |\\n"), end="")
        <!-- speed: python -m speed -->
        | 1 |
        <!-- /speed -->
        """
        begin, end = self._marks
        return begin + table + end

    def put(self, page: str, table: str) -> str:
        """Return a page with this table in the place of the old one."""
        begin, end = self._marks
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        return before + self.marked(table) + after

    def write(self, table: str) -> None:
        """Put the table into its page."""
        self.page.write_text(self.put(self.page.read_text("utf-8"), table), encoding="utf-8")

    @property
    def _marks(self) -> tuple[str, str]:
        return f"<!-- {self.kind}: {self.source} -->\n", f"<!-- /{self.kind} -->\n"
