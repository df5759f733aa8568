"""Films the README's picture: the landing page's figure, one decoding step after the other.

``make picture`` calls this on the built site. Only a web page can hold the figure itself, so the
README shows a film of it.
"""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from machine import chromium

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "_build" / "html" / "book" / "index.html"
FILM = ROOT / ".github" / "scrubber.gif"
WIDTH = 900  # pixels; the sentence's eleven tokens fit, and GitHub shows a README a little narrower
MILLISECONDS = 1100  # a step
LAST = 2600


def main() -> None:
    """Step through the figure and write the film."""
    frames = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1200}, color_scheme="light")
        page.goto(PAGE.as_uri())
        card = page.locator(".attn-scrubber").first
        # Alone on the page and wider than its column, so that the whole sentence is in the picture.
        card.evaluate(f"e => {{ document.body.replaceChildren(e); e.style.width = '{WIDTH}px'; }}")
        card.locator("details").evaluate_all("all => all.forEach((e) => e.remove())")
        slider = card.get_by_role("slider").first
        slider.press("Home")
        for _ in range(int(slider.get_attribute("max") or 0) + 1):
            page.wait_for_timeout(400)
            frames.append(Image.open(io.BytesIO(card.screenshot())).convert("RGB"))
            slider.press("ArrowRight")
        browser.close()
    # One palette for all frames, so that no colour flickers.
    palette = frames[len(frames) // 2].quantize(256)
    size = (max(frame.width for frame in frames), max(frame.height for frame in frames))
    canvases = []
    for frame in frames:
        canvas = Image.new("RGB", size, "white")
        canvas.paste(frame)
        canvases.append(canvas.quantize(palette=palette, dither=Image.Dither.NONE))
    times = [MILLISECONDS] * (len(canvases) - 1) + [LAST]
    canvases[0].save(FILM, save_all=True, append_images=canvases[1:], duration=times, loop=0)
    print(f"{FILM.relative_to(ROOT)}: {len(frames)} steps, {FILM.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
