"""Style sheets of what shows runs in HTML. All but the frame of a whole page holds inside `.fusynk-run` only."""

from string import Template

from fusynk.render.palette import DARK, LIGHT

_COLOURS = Template(
    "--ink:$ink;--faint:$faint;--paper:$paper;--soft:$soft;--edge:$edge;"
    "--blue:$blue;--pale:$pale;--green:$green;--red:$red;--yellow:$yellow"
)
_LIGHT = _COLOURS.substitute(LIGHT)
_DARK = _COLOURS.substitute(DARK)

# What is marked as important holds against the selectors of JupyterLab, which are longer.
_ROWS = """
.fusynk-run{container-type:inline-size;overflow-x:clip;color:var(--ink);background:var(--paper);text-align:left;
  overflow-wrap:anywhere;font:14px/1.5 system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;
  print-color-adjust:exact;-webkit-print-color-adjust:exact}
.fusynk-run ol{list-style:none;margin:0!important;padding:0!important}
.fusynk-run .axis,.fusynk-run .rows li{display:grid;column-gap:.5rem;position:relative;
  grid-template-columns:1.2rem 15rem 4.5rem minmax(0,1fr);margin:0;padding:0 .25rem;line-height:24px;break-inside:avoid}
.fusynk-run .rows li:nth-child(odd){background:var(--soft)}
.fusynk-run .name,.fusynk-run code{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:13px}
.fusynk-run .rows .name{grid-column:2}
.fusynk-run .item .name{padding-left:1rem}
.fusynk-run .critical .name{font-weight:600}
.fusynk-run .time{grid-column:3;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.fusynk-run .track{grid-column:4;display:block;width:100%;height:24px;overflow:visible}
.fusynk-run :is(.track,.remark){background:linear-gradient(90deg,var(--edge) 1px,transparent 1px) repeat-x}
.fusynk-run .axis text{font-size:11px;fill:var(--faint);transform:translateX(4px)}
.fusynk-run .remark{grid-column:4;color:var(--faint);font-size:12px;line-height:18px;
  padding:0 0 6px 5px}
.fusynk-run .failed .remark{color:var(--red)}
.fusynk-run .aside{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.fusynk-run .sign{font-weight:700;text-align:center}
.fusynk-run .succeeded>.sign{color:var(--green)}
.fusynk-run .failed>.sign{color:var(--red)}
.fusynk-run .skipped>.sign,.fusynk-run .cancelled>.sign{color:var(--yellow)}
.fusynk-run .bars rect{fill:var(--pale);stroke:var(--blue)}
.fusynk-run .bars path{fill:var(--blue);fill-opacity:.6}
.fusynk-run .critical .bars rect{fill:var(--blue)}
.fusynk-run .bars line{stroke:var(--faint);stroke-width:1.5;stroke-dasharray:2 3}
.fusynk-run .bars rect:is(.failed,.end){fill:var(--red);stroke:var(--red)}
.fusynk-run .bars rect.cancelled{fill:var(--paper);stroke:var(--yellow);stroke-dasharray:4 2}
.fusynk-run .legend{color:var(--faint);font-size:12px;margin:.5rem 0 0}
.fusynk-run .legend span{margin-right:1.25rem;white-space:nowrap}
.fusynk-run .sample{width:24px;height:24px;vertical-align:middle}
.fusynk-run .sample rect{x:1px;y:6px;width:22px;height:12px}
.fusynk-run .note{color:var(--faint);margin:.5rem 0}
@container (max-width:640px){
.fusynk-run .axis,.fusynk-run .rows li{grid-template-columns:1.2rem minmax(0,1fr) auto}
.fusynk-run .axis .track,.fusynk-run .rows :is(.track,.remark){grid-column:1/-1}
}
"""
_PAGE = """
*{box-sizing:border-box}
body{margin:0}
main{max-width:76rem;margin:0 auto;padding:1.5rem 1.5rem 3rem}
h1{font-size:1.5rem;line-height:1.3;margin:0 0 .25rem;font-weight:600}
h2{font-size:1.1rem;margin:2rem 0 .75rem;padding-bottom:.3rem;border-bottom:1px solid var(--edge);font-weight:600}
.fusynk-run h1 code{font-size:1.3rem}
.badge{display:inline-block;padding:0 .6rem;margin-left:.25rem;border:2px solid;border-radius:2rem;font-size:1rem;
  font-weight:600;vertical-align:middle}
.badge.succeeded{color:var(--green)}
.badge.failed{color:var(--red)}
.badge.cancelled{color:var(--yellow)}
.lead{margin:.25rem 0;color:var(--faint)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:1px;margin:0;
  border:1px solid var(--edge);border-radius:6px;overflow:hidden}
dl div{box-shadow:0 0 0 1px var(--edge);padding:.5rem .75rem}
dt{color:var(--faint);font-size:12px}
dd{margin:0;font-size:1.05rem;font-variant-numeric:tabular-nums;white-space:nowrap}
.list li{padding:.3rem .6rem;border-left:3px solid var(--edge);margin:0 0 .4rem;background:var(--soft)}
.list .failed{border-color:var(--red)}
.list time{display:inline-block;min-width:5rem;font-variant-numeric:tabular-nums}
.path{margin:.75rem 0 0}
.graph{overflow:auto;border:1px solid var(--edge);border-radius:6px;text-align:center}
.graph .fusynk-graph{max-width:none;vertical-align:top}
summary{cursor:pointer;margin:.75rem 0 .5rem;color:var(--blue)}
:focus-visible{outline:2px solid var(--blue);outline-offset:2px}
@media (max-width:640px){main{padding:1rem .75rem 2rem}dl{grid-template-columns:repeat(auto-fill,minmax(6.75rem,1fr))}
dl div{padding:.4rem .5rem}dd{font-size:.95rem}}
@media print{main{max-width:none;padding:0}.graph{overflow:visible;border:0}
.graph .fusynk-graph{max-width:100%}h2{break-after:avoid}}
"""
_COLOURED = Template("$selector{$light}\n@media (prefers-color-scheme:dark){$selector{$dark}}\n")


def rows_style() -> str:
    """Return the style of a timeline."""
    return _COLOURED.substitute(selector=".fusynk-run", light=_LIGHT, dark=_DARK) + _ROWS


def page_style() -> str:
    """Return the style of a whole page."""
    frame = _COLOURED.substitute(selector=":root", light=f"{_LIGHT};color-scheme:light dark", dark=_DARK)
    return f"{frame}:root{{background:var(--paper)}}{_ROWS}{_PAGE}"
