"""Tables of the README that measurements write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


@dataclass(frozen=True)
class ReadmeTable:
    """The place of a table: two marks, of which the first one says what makes it.

    Parameters
    ----------
    kind, source
        What the marks say.
    """

    kind: str
    source: str

    def marked(self, table: str) -> str:
        """Return the table between its marks.

        >>> print(ReadmeTable("speed", "python -m speed").marked("| 1 |\\n"), end="")
        <!-- speed: python -m speed -->
        | 1 |
        <!-- /speed -->
        """
        begin, end = self._marks
        return begin + table + end

    def put(self, readme: str, table: str) -> str:
        """Return a README with this table in the place of the old one."""
        begin, end = self._marks
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        return before + self.marked(table) + after

    def write(self, table: str) -> None:
        """Put the table into the README."""
        README.write_text(self.put(README.read_text("utf-8"), table), encoding="utf-8")

    @property
    def _marks(self) -> tuple[str, str]:
        return f"<!-- {self.kind}: {self.source} -->\n", f"<!-- /{self.kind} -->\n"
