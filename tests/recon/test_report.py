import base64
import re
from html.parser import HTMLParser

import pytest

from recon.report import main
from recon.run_results import read_results


@pytest.fixture(scope="module")
def page(tiny_runs, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert main(["--runs", str(tiny_runs), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def test_the_page_needs_no_other_file(page):
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)


def test_every_picture_is_a_png(page):
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == 5
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)


def test_the_page_is_well_formed(page):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag, _):
            if tag not in ("meta", "img"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    balance = Balance()
    balance.feed(page)
    assert balance.open == []


def test_the_headline_names_the_score_and_the_mean_training_shape(page, tiny_runs):
    (result,) = read_results(tiny_runs)
    score = result.score(5, "train")
    assert f"With 5 views the network reaches a mean IoU of <b>{score.iou_mean:.2f}</b>" in page
    assert f"reaches <b>{result.baseline['train']:.2f}</b>" in page


def test_the_papers_table_is_beside_ours(page):
    assert "paper: validation" in page
    assert "Pix2Vox++/F, 4.8 million parameters" in page


def test_the_page_says_what_images_cannot_show(page):
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "nothing in them tells those axes" in text


def test_a_given_picture_of_the_dataset_is_taken(tiny_runs, tmp_path):
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"\x89PNG something of its own")
    out = tmp_path / "report.html"
    assert main(["--runs", str(tiny_runs), "--out", str(out), "--sheet", str(sheet)]) == 0
    assert base64.b64encode(sheet.read_bytes()).decode() in out.read_text(encoding="utf-8")


def test_a_report_outlives_its_dataset(tiny_runs, tmp_path):
    out = tmp_path / "report.html"
    assert main(["--runs", str(tiny_runs), "--out", str(out), "--store", str(tmp_path / "gone.zarr")]) == 0
    assert "gone.zarr" in out.read_text(encoding="utf-8")


def test_a_folder_without_scored_runs_is_refused(tmp_path, capsys):
    assert main(["--runs", str(tmp_path), "--out", str(tmp_path / "report.html")]) == 2
    assert "expected scored runs" in capsys.readouterr().err
