"""In a real browser: a slider is dragged, both texts stream, stop stops, a shared link writes the same, keys and axe."""

import re

import pytest

from analysis.browser.app import create_app
from tests.analysis.browser.live.test_streams import slowly


@pytest.fixture
def address(engine, served):
    return served(create_app(engine.study.folder, live=engine))


def texts(page):
    from playwright.sync_api import expect

    expect(page.locator("#status")).to_contain_text("Done", timeout=30_000)
    return page.locator("#baseline").inner_text(), page.locator("#clamped").inner_text()


def test_a_dragged_slider_two_texts_and_the_link_that_writes_them_again(address, browser_page):
    from playwright.sync_api import expect

    page = browser_page
    page.goto(f"{address}/bench")
    page.get_by_label("Prompt").fill("Nora was")
    page.get_by_label("New tokens").fill("24")
    page.get_by_label("A concept's label").fill("afraid")
    page.keyboard.press("Enter")
    slider = page.get_by_role("slider", name="Strength of afraid")
    expect(slider).to_be_focused()
    expect(slider).to_have_value("2")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.97, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    expect(slider).to_have_value("4")  # the slider goes on to 5, where the text was measured to break
    slider.press("ArrowLeft")
    expect(page.locator(".push input[name=value]")).to_have_value("3.95")
    expect(page).to_have_url(re.compile(r"clamp=afraid%3D%2B3\.95"))
    page.get_by_role("button", name="Write both").click()
    before = texts(page)
    assert before[0] != before[1]
    assert before[0].startswith("Nora was")
    expect(page.locator("#trace path")).to_have_count(2)
    expect(page.locator("#shown")).to_have_value("afraid")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("() => navigator.clipboard.readText()")
    page.get_by_role("button", name="Save to study").click()
    expect(page.locator("#status")).to_contain_text("Saved")
    page.goto("about:blank")
    page.goto(link)
    expect(page.locator(".saved")).to_contain_text("afraid=+3.95")
    page.get_by_role("button", name="Write both").click()
    assert texts(page) == before


def test_stop_stops_and_both_texts_stream_meanwhile(address, engine, browser_page, monkeypatch):
    from playwright.sync_api import expect

    written = slowly(monkeypatch, 0.05)
    page = browser_page
    page.goto(f"{address}/bench?prompt=Nora+was&tokens=100&clamp=afraid%3D%2B3")
    page.get_by_role("button", name="Write both").click()
    for pane in ("#baseline", "#clamped"):
        expect(page.locator(f"{pane} .t:not(.given)").nth(3)).to_be_attached(timeout=30_000)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    for _ in range(200):
        if not engine.state.waiting:
            break
        page.wait_for_timeout(50)
    assert not engine.state.waiting
    assert len(written) < 190


def test_the_monitor_draws_what_was_pasted(address, browser_page):
    from playwright.sync_api import expect

    page = browser_page
    page.goto(f"{address}/monitor")
    page.locator("#file").set_input_files(
        {
            "name": "chat.jsonl", "mimeType": "text/plain",
            "buffer": b'{"role": "user", "content": "The <b>cat</b> sat."}\n{"role": "assistant", "content": "Rain fell."}',
        }
    )  # fmt: skip
    expect(page.locator("#text")).to_have_value(re.compile("cat"))
    page.get_by_label("Alarms").fill("afraid < 0.5 for 3")
    page.get_by_role("button", name="Read", exact=True).click()
    expect(page.locator("#status")).to_contain_text("Done", timeout=30_000)
    expect(page.locator("#coloured")).to_contain_text("The <b>cat</b> sat.")
    expect(page.locator("#alarms tr").first).to_contain_text("afraid < 0.5 for 3")
    expect(page.locator("#turns tr")).to_have_count(2)
    expect(page.locator("#turn-trace circle")).to_have_count(2)


@pytest.mark.parametrize("path", ["/bench?clamp=afraid%3D%2B3&clamp=5:ablate", "/monitor?scene=dog_died"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_a_phone(address, browser_page, path, scheme):
    from playwright.sync_api import expect

    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = browser_page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address + path)
    if path.startswith("/bench"):
        page.get_by_role("button", name="Write both").click()
    expect(page.locator("#status")).to_contain_text("Done", timeout=30_000)
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
