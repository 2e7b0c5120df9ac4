import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from recon.report import main
from recon.reporting.figures import learning_curve
from recon.reporting.run_results import read_results
from recon.shapes.shape_score import ShapeResult, ShapeScore
from recon.shapes.shape_scoring import ShapeFailure
from recon.shapes.shape_tables import table_rows, write_failures, write_tables


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


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """A table of two methods, as recon.evaluate writes it, by hand."""
    table = tmp_path_factory.mktemp("shapes") / "table.csv"
    results = [
        ShapeResult(
            ShapeScore(
                method=method,
                views=views,
                protein_id=name,
                iou=iou,
                aligned_iou=iou,
                chamfer_nm=0.3 / views,
                f_score=0.9,
                pose_error_deg=0.5 if views > 1 else float("nan"),
                elapsed_s=1.5,
                frame="view",
                threshold=0.5,
                mirrored_iou=0.432,
                pose_within_5_deg=1.0 if views > 1 else float("nan"),
            ),
            np.tile([10.0, 4.0, 5.0], (10, 1)),
        )
        for views in (1, 8)
        for method, iou in (("known", 0.987), ("register", 0.765))
        for name in ("1abc", "2abc")
    ]
    rows = table_rows(results, "test", {"1abc": "1abc", "2abc": "2abc"})
    write_failures(table, [ShapeFailure("3abc", "ValueError: no surface")])
    write_tables(table, rows, results)
    body = np.zeros((16, 16, 16), np.uint8)
    body[4:12, 4:10, 4:12] = 1
    for name in ("best", "median", "worst"):
        np.savez(
            table.with_name(f"table_{name}.npz"),
            probability=body * np.float32(0.4),
            occupancy=body,
            protein_id="1abc",
            method="register",
            views=8,
            iou=0.765,
            threshold=0.3,
            frame="view",
            voxel_size_nm=0.4,
        )
    return table


def test_the_table_of_all_methods_is_a_page_of_its_own(shapes, tmp_path):
    out = tmp_path / "report.html"
    assert main(["--shapes", str(shapes), "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count("data:image/png;base64,") == 5
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "carved with true orientations 8 0.987" in text
    assert "registered and carved 1 0.765" in text
    assert "0.04 0.5° 100%" in text
    assert "1 proteins failed" in text


def test_a_table_and_runs_share_a_page(shapes, tiny_runs, tmp_path):
    out = tmp_path / "report.html"
    assert main(["--shapes", str(shapes), "--runs", str(tiny_runs), "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert page.index("All methods on the same proteins") < page.index("Does the number of views matter?")


def test_runs_on_more_and_more_proteins_make_a_learning_curve(tiny_runs):
    (result,) = read_results(tiny_runs)
    assert learning_curve([result]) == ""
    split = replace(result.record.split, train=result.record.split.train[:2])
    fewer = replace(result, name="fewer", record=replace(result.record, split=split))
    assert learning_curve([result, fewer]).startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --runs, a folder of runs, or --shapes"),
        (["--shapes", "absent.csv"], "absent"),
        (["--shapes", "other.csv"], "expected the column aligned_iou_mean in"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, monkeypatch, options, message, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("views,iou_mean\n1,0.5\n")
    assert main([*options, "--out", "report.html"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
