"""Dashboards of Grafana, as code: one file each, made with Grafana's own builder."""
