"""A figure as bytes: the same each time, text as text, nothing that a strict page forbids; and what is said where there is none."""

import re
import xml.etree.ElementTree as tree
from concurrent.futures import ThreadPoolExecutor

import pytest

from analysis.cases.figures import draw, drawable, inline, save
from tests.analysis.cases.figures.test_workshop import ARMS, arm

HOSTILE = "</svg><b>$x"


@pytest.fixture
def filled(study):
    study.write("workshop", [*ARMS, arm(f"{HOSTILE}_up", 1.0, 0.2)])
    return study


def test_the_same_rows_are_the_same_bytes(filled):
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda theme: draw(filled, "workshop", theme), ["light", "dark", "light"]))
    assert found[0] == found[2] == draw(filled, "workshop", "light")
    assert found[0] != found[1]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_text_and_can_stand_in_a_strict_page(filled, theme):
    drawn = draw(filled, "workshop", theme).decode()
    root = tree.fromstring(drawn)
    words = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Honest stops" in words
    assert HOSTILE in words
    assert "style" not in {name.split("}")[-1] for one in root.iter() for name in (one.tag, *one.attrib)}
    assert not re.search(r"<(script|metadata|image)|<!", drawn)
    ids = re.findall(r' id="([^"]+)"', drawn)
    assert all(one.startswith(f"workshop-{theme}-") for one in ids)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', drawn)) == set(ids)
    assert root.get("aria-label") == "Workshop: endings against the dose"


def test_a_page_gives_it_its_colours(filled):
    drawn = inline(filled, "workshop")
    assert 'fill="var(--ink)"' in drawn
    assert "#23262b" not in drawn


def test_files_are_left_in_the_study(filled):
    svg, png = save(filled, "workshop")
    assert svg == filled.folder / "figures" / "workshop.svg"
    assert svg.read_bytes().startswith(b"<svg ")
    assert png.read_bytes().startswith(b"\x89PNG")
    before = png.read_bytes(), svg.read_bytes()
    save(filled, "workshop")
    assert (png.read_bytes(), svg.read_bytes()) == before
    assert sorted(path.name for path in svg.parent.iterdir()) == ["workshop.png", "workshop.svg"]


def test_nothing_to_draw_is_one_line(study):
    assert drawable(study) == {}
    with pytest.raises(ValueError, match=r"holds nothing of the case 'workshop' to draw: run `saes case workshop`"):
        draw(study, "workshop")
    with pytest.raises(ValueError, match="holds nothing of the case 'tea'"):
        save(study, "tea")
    with pytest.raises(ValueError, match="theme is one of light, dark, got 'blue'"):
        draw(study, "workshop", "blue")
    assert not (study.folder / "figures").exists()


def test_every_colour_of_a_page_is_one_that_the_report_knows(filled):
    from pathlib import Path

    page = (Path(__file__).parents[4] / "analysis" / "report" / "report.html.j2").read_text()
    used = set(re.findall(r"var\(--([a-z]+)\)", inline(filled, "workshop")))
    assert used
    assert all(f"--{name}:" in page for name in used)
