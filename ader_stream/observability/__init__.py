"""What the people on call see: alert rules, their inhibition, and dashboards, all generated."""
