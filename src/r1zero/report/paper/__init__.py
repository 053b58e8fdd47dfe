"""The paper: text, tables and figures in order, and their renderings."""
