"""The colours of pictures and pages, for light and for dark: those of one page go together."""

from collections.abc import Mapping
from types import MappingProxyType

LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "ink": "#1f2328",
        "faint": "#59636e",
        "paper": "#fff",
        "soft": "#f6f8fa",
        "box": "#f6f8fa",
        "edge": "#d1d9e0",
        "line": "#818b98",
        "blue": "#0969da",
        "pale": "#9ec8f5",
        "purple": "#8250df",
        "green": "#1a7f37",
        "red": "#cf222e",
        "yellow": "#9a6700",
    }
)
DARK: Mapping[str, str] = MappingProxyType(
    {
        "ink": "#e6edf3",
        "faint": "#9198a1",
        "paper": "#0d1117",
        "soft": "#151b23",
        "box": "#161b22",
        "edge": "#3d444d",
        "line": "#7d8590",
        "blue": "#4493f8",
        "pale": "#204a80",
        "purple": "#ab7df8",
        "green": "#3fb950",
        "red": "#f85149",
        "yellow": "#d29922",
    }
)
