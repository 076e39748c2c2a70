"""Load tests that tell the truth: open loop, latency from the due time, lagging runs rejected.

`run_in_process` measures one service, `interleave` compares several under one schedule,
`highest_clean_rate` finds what a service can carry, and `Report` writes it down as one HTML page.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .calibrate import CleanRate as CleanRate
    from .calibrate import Trial as Trial
    from .calibrate import highest_clean_rate as highest_clean_rate
    from .calibrate import next_rate as next_rate
    from .calibrate import settle as settle
    from .charts import bar_chart as bar_chart
    from .charts import percentile_chart as percentile_chart
    from .plan import Plan as Plan
    from .plan import Request as Request
    from .process import run_in_process as run_in_process
    from .report import Chart as Chart
    from .report import Highlight as Highlight
    from .report import Report as Report
    from .report import Section as Section
    from .report import Table as Table
    from .result import Result as Result
    from .result import percentile as percentile
    from .runner import run as run
    from .turns import interleave as interleave
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "calibrate": ("CleanRate", "Trial", "highest_clean_rate", "next_rate", "settle"),
            "charts": ("bar_chart", "percentile_chart"),
            "plan": ("Plan", "Request"),
            "process": ("run_in_process",),
            "report": ("Chart", "Highlight", "Report", "Section", "Table"),
            "result": ("Result", "percentile"),
            "runner": ("run",),
            "turns": ("interleave",),
        },
    )

__all__ = [
    "Chart",
    "CleanRate",
    "Highlight",
    "Plan",
    "Report",
    "Request",
    "Result",
    "Section",
    "Table",
    "Trial",
    "bar_chart",
    "highest_clean_rate",
    "interleave",
    "next_rate",
    "percentile",
    "percentile_chart",
    "run",
    "run_in_process",
    "settle",
]
