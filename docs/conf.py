"""Settings of Sphinx for the site that `make report` builds. helpers/running/site.py writes its pages."""

from docutils import nodes

project = "Skin-lesion study"
author = copyright = ""  # the footer says something else
html_title = project
extensions = ["myst_nb"]
exclude_patterns = ["files"]  # offered for download
myst_heading_anchors = 4
myst_enable_extensions = []  # no mathematics: MathJax would be loaded from another host

nb_execution_mode = "off"  # the pages show what the study published
nb_output_stderr = "remove"
nb_merge_streams = True
nb_render_markdown_format = "gfm"
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_ipywidgets_js = {}  # from another host

html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_content_items": ["extra-footer.html"],
    "extra_footer": "For education and research. Not a medical device: nothing here may be used to diagnose or treat.",
}
html_context = {"default_mode": "auto"}  # dark where the reader's system is
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_search_summary = False  # would fetch pages, which a browser forbids where they are opened as files
html_use_index = False


def link_figures(app, doctree, page):
    """Give every figure its true size: Sphinx then links it to its file, which a telephone can show at that size."""
    for image in doctree.findall(nodes.image):
        image["scale"] = 100


def setup(app):
    app.connect("doctree-resolved", link_figures)
