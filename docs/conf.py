"""Settings of the site that `make docs` builds from the pages of this repository with Sphinx.

The pages are read on a code host too, so their links name files and folders.
"""

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "bokeh-autoscaler"
root_doc = "docs/index"
extensions = ["myst_parser", "sphinx_copybutton"]
include_patterns = ["*.md"] + [
    f"{folder}/**.md" for folder in ("docs", "deploy", "policies", "requirements", "tests")
]
exclude_patterns = [".*", "build", "dist"]
myst_heading_anchors = 6
smartquotes = False  # would change the dashes of options and the quotation marks
# Pygments knows neither all languages nor all that may be in one. It then colors less.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_theme_options = {"top_of_page_buttons": []}
html_title = project
html_extra_path = ["site"]
html_copy_source = False
html_show_copyright = False
html_use_index = False


def resolve_folders(app: Sphinx, page: nodes.document) -> None:
    """Lead links to a folder to the README.md in it, as a code host does; else name the folder."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link in list(page.findall(pending_xref)):
        folder = (here / link["reftarget"]).resolve()
        if link["refdomain"] == "doc" or not folder.is_dir():
            continue
        name = folder.relative_to(ROOT).as_posix()
        if f"{name}/README" in app.env.found_docs:
            link.update_all_atts({"refdomain": "doc", "reftarget": f"{name}/README"}, replace=True)
            link["reftargetid"] = None
        else:
            link.replace_self(
                [*link.children, nodes.Text(" ("), nodes.literal("", name), nodes.Text(")")]
            )


def setup(app: Sphinx) -> None:
    """Add what the settings above cannot say."""
    app.connect("doctree-read", resolve_folders)
