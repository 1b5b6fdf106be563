"""The site: a small one of a drawn notebook or, if SITE names its folder, one that was built before."""

import base64
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from browser import opened_browser
from conftest import picture
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.data.diagnoses import HAM10000, ISIC2019
from helpers.evaluation.scores import MEANINGS
from helpers.records import write_text
from helpers.running import report, site
from helpers.running.notebooks import all_notebooks
from helpers.running.tables import NOT_RUN, ON_PAGE
from helpers.study import ROOT, StudyError

NAME, LATER, ABSENT, *_ = all_notebooks()
OPENING = f"**Question.** Why? Read [the data](../data/README.md), [next]({ABSENT}.ipynb) and the [Summary](#Summary)."
DEFAULTS = 'study = "demo"  # name: results/<study>/\nside = 64  # pixels\nseed = 0  # of all'
pages = pytest.mark.needs("sphinx", "myst_nb", "sphinx_book_theme")  # requirements-docs.txt


def notebook_with_everything():
    """An executed notebook with everything that the site changes."""
    image = io.BytesIO()
    picture(0).save(image, "PNG")
    figure = {"image/png": base64.b64encode(image.getvalue()).decode(), "text/plain": "<Figure>"}
    link = "See [the data](../data/README.md)."
    outputs = [
        new_output("display_data", {"text/markdown": link, "text/plain": link}),
        new_output("stream", name="stderr", text="start-up line"),
        new_output("stream", name="stdout", text="7 models judged\n"),
        new_output("display_data", figure, metadata={"image/png": {"alt": "A drawn lesion"}}),
    ]
    found = "Yes: see [the data](../data/README.md).\n\n### What we found\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    summary = new_output("display_data", {"text/markdown": found, "text/plain": "<Markdown>"})
    cells = [
        new_markdown_cell("# 01 · Look"),
        new_markdown_cell(OPENING),
        new_code_cell(DEFAULTS, metadata={"tags": ["parameters"]}),
        new_code_cell('# Parameters\nstudy = "tiny"\nside = 64\n', metadata={"tags": ["injected-parameters"]}),
        new_code_cell("train()", outputs=outputs),
        new_markdown_cell("## Summary"),
        new_code_cell("say('Yes')", outputs=[summary], metadata={"tags": ["hide-input"]}),
    ]
    return new_notebook(cells=cells, metadata={"language_info": {"name": "python", "pygments_lexer": "ipython3"}})


@pytest.fixture(scope="module")
def small_site(tmp_path_factory):
    """The folder of a site whose only study is a drawn notebook."""
    folder = tmp_path_factory.mktemp("site")
    results = folder / "results" / "tiny"
    for name in ("notebooks", NAME):
        (results / name).mkdir(parents=True)
    nbformat.write(notebook_with_everything(), results / "notebooks" / f"{NAME}.ipynb")
    nbformat.write(notebook_with_everything(), results / "notebooks" / f"{LATER}.ipynb")  # without findings
    (results / NAME / "findings.json").write_text(json.dumps({"answer": "Because 5 | 7 say so."}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESULTS_DIR", str(folder / "results"))
        patch.setenv("BUILD_DIR", str(folder / "build"))
        assert report.main(["pages", "--study", "tiny"]) == 0
    return folder / "build" / "tiny" / "report"


@pytest.fixture
def any_site(request):
    """The site that SITE names, or the drawn one."""
    return Path(os.environ["SITE"]).absolute() if "SITE" in os.environ else request.getfixturevalue("small_site")


@pages
def test_a_page_has_what_a_reader_wants_and_no_more(small_site):
    text = (small_site / "tiny" / f"{NAME}.html").read_text()
    assert "7 models judged" in text and 'alt="A drawn lesion"' in text
    assert not re.search("read back|start-up line|injected", text)
    assert "3 parameters of this run, 1 not at the default" in text and "results/&lt;study&gt;/" in text
    assert len(re.findall("<summary", text)) == 2 and "Show the code" in text  # parameters and the Summary's cell
    assert re.search(r"<th[^>]*><p>a</p></th>", text) and re.search(r"<h3>What we found", text)
    assert text.count('href="../data.html"') >= 3 and 'href="#summary"' in text
    assert "next and the" in re.sub(r"<[^>]+>", "", text)  # a page that is not there is no link


@pages
def test_the_front_page_has_answers_and_says_what_was_not_run(small_site):
    text = re.sub(r"<[^>]+>", " ", (small_site / "index.html").read_text())
    assert "Because 5 | 7 say so." in text and all(words.strip("*") in text for words in (ON_PAGE, NOT_RUN))
    assert (ROOT / "README.md").read_text().splitlines()[0].strip("# ") in text
    assert all(part in text for part in site.PARTS) and "@software" in text and "<!--" not in text


@pages
def test_what_sphinx_warns_of_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    text = "# Front page\n\nSee [there](#nowhere)."
    monkeypatch.setattr(site, "write_source", lambda folder, study: write_text(folder / "index.md", text))
    assert report.main(["pages", "--study", "tiny"]) == 1
    printed = capsys.readouterr().err
    assert "nowhere" in printed and "Sphinx warns" in printed


def test_missing_packages_and_studies_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    with pytest.raises(StudyError, match=r"no executed notebooks. Run `make all STUDY=tiny`"):
        site.write_source(tmp_path, "tiny")
    monkeypatch.setattr(site, "PACKAGES", ("a_package_that_is_not_there",))
    with pytest.raises(StudyError, match=r"a_package_that_is_not_there. Run `.*-r requirements-docs.txt`"):
        site.build_site("tiny")


def test_every_notebook_is_in_one_part():
    assert sum(map(site.notebooks_of, site.PARTS), []) == all_notebooks()


def test_every_text_on_the_site_links_to_files_of_the_repository():
    for path in (*(ROOT / "docs").glob("*.md"), *map(ROOT.joinpath, ("README.md", *site.TEXTS))):
        for target in re.findall(r"\]\(([^)\s#]+)", path.read_text()):
            there = "://" in target or target.startswith("../../actions") or (path.parent / target).exists()
            assert there, f"{path}: {target}"


def test_every_source_is_in_the_references():
    known = (ROOT / "docs" / "references.md").read_text()
    texts = [path.read_text() for path in (*(ROOT / "notebooks").glob("*.ipynb"), ROOT / "data" / "README.md")]
    sources = re.findall(r"https://(?:doi\.org|arxiv\.org/abs)/[\w./-]+", "\n".join(texts))
    assert sources and not [source for source in sources if source not in known]


def html_files(folder):
    return [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]  # there are templates


class Page(HTMLParser):
    """The links of a page and the ids to which others can link."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.ids, self.without_words = set(), set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.links |= {given[name] for name in ("href", "src") if given.get(name)}
        self.without_words += [given] if tag == "img" and not given.get("alt") else []
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}


@pages
def test_no_link_is_broken_and_every_figure_has_words(any_site):
    found = {path: Page(path) for path in html_files(any_site)}
    assert len(found) > 5
    for path, page in found.items():
        assert not page.without_words, path
        for link in map(urlsplit, page.links):
            if not link.scheme and not link.netloc:
                target = (path.parent / unquote(link.path)).resolve() if link.path else path
                assert target.exists(), f"{path}: {link.geturl()}"
                anchor = unquote(link.fragment)
                assert not anchor or target not in found or anchor in found[target].ids, f"{path}: {link.geturl()}"


@pages
@pytest.mark.slow
@pytest.mark.needs("chromium", "chromedriver")  # Debian: chromium, chromium-driver
def test_a_browser_opens_its_files_without_error_or_network(any_site):
    """Every page is opened, and the search finds a page."""
    with opened_browser() as browser:
        for path in html_files(any_site):
            browser.ask("/url", {"url": path.as_uri()})
            assert not browser.errors(), path
            asked = browser.requests()
            assert path.as_uri() in asked and all(name.startswith(("file:", "data:")) for name in asked), path
        browser.ask("/url", {"url": f"{(any_site / 'search.html').as_uri()}?q=bootstrap"})
        assert browser.wait("return document.querySelector('#search-results li a')?.href").startswith("file:")


# What a page shows at the width of a telephone: scrolling boxes, those whose table is cut, and what leaves the window.
LAYOUT = """
const box = '.pst-scrollable-table-container, .cell_output .output', rect = one => one.getBoundingClientRect();
const shown = [...document.querySelectorAll('.bd-article *')].filter(one => rect(one).width);
const boxes = shown.filter(one => one.matches(box)), style = one => getComputedStyle(one);
return {
  outside: shown.filter(one => !one.parentElement.closest(box + ', pre') && rect(one).right > innerWidth)
    .map(one => one.outerHTML.slice(0, 200)),
  loose: shown.filter(one => one.matches('table') && !one.closest(box)).length,
  cut: boxes.filter(one => one.scrollWidth > one.clientWidth).length,
  silent: boxes.filter(one => style(one).overflowX != 'auto' || !style(one).backgroundImage.match('gradient')).length,
  unlinked: shown.filter(one => one.matches('img') && one.closest('a')?.href != one.src).length,
  page: document.documentElement.scrollWidth <= innerWidth,
};
"""


@pages
@pytest.mark.slow
@pytest.mark.needs("chromium", "chromedriver")
def test_on_a_telephone_wide_tables_scroll_in_their_boxes_and_figures_open_alone(any_site):
    with opened_browser() as browser:
        size = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        browser.ask("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        cut = 0
        for path in html_files(any_site):
            browser.ask("/url", {"url": path.as_uri()})
            found = browser.run(LAYOUT)
            cut += found.pop("cut")
            assert found == {"outside": [], "loose": 0, "silent": 0, "unlinked": 0, "page": True}, path
        assert cut  # some table is wide enough to try it


def test_every_class_and_every_score_is_in_the_glossary():
    text = (ROOT / "docs" / "glossary.md").read_text()
    for one in HAM10000 + ISIC2019:
        (row,) = re.findall(rf"^\| .*`{one.code}`.*\|$", text, re.MULTILINE)
        assert one.name.partition(" or ")[0] in row.lower() and ("| malignant |" in row) == one.malignant
    for name in MEANINGS:
        assert re.search(rf"^\| [^|]*\b{name.split('_')[-1]}\b", text, re.MULTILINE | re.IGNORECASE), name
