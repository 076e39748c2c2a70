"""`make demo`: the orders service before and after, measured on real servers."""

STATISTICS_PATH = "/_demo/database"
"""Where a variant under measurement tells what it spent on its database."""
