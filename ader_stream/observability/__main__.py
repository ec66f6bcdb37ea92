"""Write the files in `deploy/` again: ``python -m ader_stream.observability``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from ader_stream.observability.alertmanager import alertmanager_yaml
from ader_stream.observability.dashboards.files import dashboards_json
from ader_stream.observability.rule import Links
from ader_stream.observability.rules_file import rules_yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def files(links: Links) -> Mapping[str, str]:
    """Return the content of every generated file, by its path below the folder."""
    return {
        "prometheus/ader-stream.rules.yml": rules_yaml(links),
        "prometheus/alertmanager.yml": alertmanager_yaml(),
        **{f"grafana/{name}.json": text for name, text in dashboards_json().items()},
    }


@click.command()
@click.option("--grafana", default=Links.grafana, show_default=True, help="Address of Grafana.")
@click.option("--runbook", default=Links.runbook, show_default=True, help="Page of the runbook.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=DEPLOY, help="Folder; default: deploy/."
)
def main(grafana: str, runbook: str, out: Path) -> None:
    """Write alert rules, the configuration of Alertmanager, and dashboards."""
    for name, content in files(Links(grafana, runbook)).items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        click.echo(path)


if __name__ == "__main__":
    main()
