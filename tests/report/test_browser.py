from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from limbeck.report.page import build

pytestmark = pytest.mark.browser
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DARK, LIGHT = "0", "1"
RULES = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
POLICY = f'<meta http-equiv="Content-Security-Policy" content="{RULES}">'
ASK = """<script>addEventListener("load", () => parent.postMessage({
  width: innerWidth,
  needed: document.documentElement.scrollWidth,
  paper: getComputedStyle(document.body).backgroundColor,
  shown: [...document.querySelectorAll(".wide, .narrow")].filter(e => e.offsetParent).map(e => e.className),
}, "*"))</script>"""
FRAME = """<!doctype html><title>waiting</title>
<style>body{margin:0} iframe{border:0;width:%dpx;height:1200px}</style>
<script>addEventListener("message", e => document.title = JSON.stringify(e.data))</script>
<iframe src="%s"></iframe>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no chromium, chromium-browser or google-chrome on PATH")


def run(chromium: str, folder: Path, page: Path, *flags: str) -> str:
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def measured(chromium: str, folder: Path, html: str, *, width: int, scheme: str) -> dict:
    """What the page says of itself at a width; in a frame, because a window has a least width."""
    import json
    from html import unescape

    assert POLICY in html
    inner, outer = folder / "inner.html", folder / "outer.html"
    inner.write_text(html.replace(POLICY, "").replace("</body>", ASK + "</body>"))
    outer.write_text(FRAME % (width, inner.as_uri()))
    flags = ("--dump-dom", "--virtual-time-budget=3000", "--window-size=1400,1200")
    dom = run(chromium, folder, outer, *flags, f"--blink-settings=preferredColorScheme={scheme}")
    return json.loads(unescape(dom.partition("<title>")[2].partition("</title>")[0]))


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_page_is_wider_than_its_window(chromium, complete_run, tmp_path, width):
    found = measured(chromium, tmp_path, build(complete_run), width=width, scheme=LIGHT)
    assert found["width"] == width
    assert found["needed"] <= width
    assert set(found["shown"]) == ({"narrow"} if width <= 640 else {"wide"})


@pytest.mark.parametrize("kind", ["audited", "unfinished", "failed", "hostile"])
def test_other_pages_fit_a_phone(chromium, examples, tmp_path, kind):
    html = build(getattr(examples, kind)(tmp_path / kind).path)
    assert measured(chromium, tmp_path, html, width=360, scheme=LIGHT)["needed"] <= 360


def test_light_and_dark(chromium, complete_run, tmp_path):
    html = build(complete_run)
    light, dark = (measured(chromium, tmp_path, html, width=800, scheme=s)["paper"] for s in (LIGHT, DARK))
    assert light == "rgb(253, 252, 250)"
    assert dark == "rgb(18, 21, 27)"


def test_a_picture_is_taken(chromium, complete_run, tmp_path):
    page, png = tmp_path / "report.html", tmp_path / "page.png"
    page.write_text(build(complete_run))
    run(chromium, tmp_path, page, f"--screenshot={png}", "--window-size=1280,1600")
    content = png.read_bytes()
    assert struct.unpack(">II", content[16:24]) == (1280, 1600)
    assert len(content) > 50_000  # an empty page would be smaller
