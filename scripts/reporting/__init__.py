"""What scripts/report is made of: readers of a run's folder, charts, tables, the page. Standard library only."""
