"""The report as one self-contained page: table, charts, and every solution step by step."""

from arbitrage.harness.html.page import write_html

__all__ = ["write_html"]
