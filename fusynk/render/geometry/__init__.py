"""The geometry of a drawn graph, one module a step: levels, order, columns, ports, tracks."""
