"""Parts of the report's page: the page itself, figures, tables, boxes."""

import html
from collections.abc import Sequence
from string import Template


def whole_page(sections: Sequence[str]) -> str:
    """Return a page that needs no other file."""
    return _PAGE.substitute(sections="\n".join(sections))


def box(number: str, words: str) -> str:
    """Return a large number with a few words below it."""
    return f'<div class="box"><div class="number">{number}</div><div>{html.escape(words)}</div></div>'


def figure(title: str, data_uri: str, caption: str) -> str:
    """Return a heading with a picture and its caption; nothing where there is no picture."""
    if not data_uri:
        return ""
    return (
        f'<h2>{html.escape(title)}</h2><figure><img alt="{html.escape(title)}" src="{data_uri}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of plain texts."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    head = f"<thead>{cells('th', header)}</thead>" if any(header) else ""
    body = "".join(cells("td", row) for row in rows)
    return f'<div class="table"><table>{head}<tbody>{body}</tbody></table></div>'


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Protein shapes from AFM images</title>
<style>
:root { --ink: #1e293b; --soft: #64748b; --line: #e2e8f0; --accent: #0f766e; }
* { box-sizing: border-box; }
body { margin: 0; background: #f8fafc; color: var(--ink); font: 16px/1.6 system-ui, "Segoe UI", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; background: #fff; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; }
.subtitle, figcaption, .note { color: var(--soft); font-size: .9rem; }
.lead { font-size: 1.05rem; }
.boxes { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.6rem 0 1rem; }
.box { flex: 1 1 11rem; border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem; font-size: .85rem;
  color: var(--soft); }
.box:first-child { border-color: var(--accent); }
.number { font-size: 1.9rem; font-weight: 650; color: var(--ink); font-variant-numeric: tabular-nums; }
.box:first-child .number { color: var(--accent); }
figure { margin: 0; } img { max-width: 100%; height: auto; display: block; }
figcaption { max-width: 46rem; margin-top: .5rem; }
.table { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem 1.1rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
</style></head><body><main>
<h1>Protein shapes from multi-view AFM images</h1>
<p class="subtitle">Structures to virtual atomic force microscopy images, to a network that predicts the body as
32 by 32 by 32 voxels. IoU, intersection over union, is 1 for a perfect prediction and 0 for no overlap.</p>
$sections
</main></body></html>
""")
