"""The command `symphonia-perf`: what a deploy and a CI job ask of the blocks."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.cli.entry import main as main
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__, {"entry": ("main",)})

__all__ = ["main"]
