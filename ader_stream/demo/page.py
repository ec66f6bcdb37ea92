"""Write the report: ``report.json``, ``report.html`` (one file, no network), PNG plots."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ader_stream.demo.plots import draw_plots
from ader_stream.demo.report import DemoReport
from ader_stream.paper_results import Published
from ader_stream.plotting import DARK, LIGHT, as_png, as_svg

_CAPTIONS = {
    "recall_at_20": "How often the next click was among the first 20 recommended items.",
    "mrr_at_20": "The mean of 1 / place in the list, 0 beyond place 20.",
    "new_item_share": "Clicks on items that no earlier block had: no model can recommend those.",
    "training_time": "One update cycle for each block: epochs and their validation.",
    "publish_to_live": "From the commit of a version until every partition was served by it.",
}


@dataclass(frozen=True, slots=True)
class _Picture:
    """A plot in both themes, as data URIs."""

    light: str
    dark: str
    caption: str


def write_report(report: DemoReport, published: Published | None, folder: Path) -> None:
    """Write ``report.json``, ``report.html`` and the PNG plots into a folder, created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.html").write_text(render_page(report, published), encoding="utf-8")
    for name, figure in draw_plots(report, published).items():
        (folder / f"{name}.png").write_bytes(as_png(figure))


def render_page(report: DemoReport, published: Published | None) -> str:
    """Return the report as one HTML file that loads nothing."""
    environment = Environment(
        loader=PackageLoader("ader_stream.demo"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"whole": _whole, "fixed": _fixed}
    return environment.get_template("report.html").render(
        report=report, published=published, pictures=_pictures(report, published)
    )


def _pictures(report: DemoReport, published: Published | None) -> list[_Picture]:
    light = draw_plots(report, published, LIGHT)
    dark = draw_plots(report, published, DARK)
    return [
        _Picture(_data_uri(as_svg(light[name])), _data_uri(as_svg(dark[name])), caption)
        for name, caption in _CAPTIONS.items()
    ]


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _whole(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _fixed(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
