"""Pages of random text as training images, drawn with the fonts of matplotlib."""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Fonts are found by the beginning of their names, so that bold and italic variants are included.
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "cmr10", "cmss10", "cmtt10")
LETTERS = "etaoinshrdlcumwfgypbvkjxqzETAOINSHRDLC0123456789.,:;-"
# Smallest and largest size of a font, in pixels.
SMALLEST, LARGEST = 8, 40
# Longest side of a page, in pixels. Drawing takes time, and a patch shows only a part of the page.
LONGEST = 512
# Smallest difference between the means of ink and paper, in [0, 1].
LEAST_CONTRAST = 0.35


def text_page(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Lines of random words in one font and ink on plain paper: float32 (height, width, 3) in [0, 1]."""
    font = _font(random.choice(_font_files()), int(SMALLEST * (LARGEST / SMALLEST) ** random.uniform()))
    spacing = random.uniform(1.1, 2.0) * font.size
    coverage = Image.new("L", (width, height))
    draw = ImageDraw.Draw(coverage)
    for top in np.arange(-random.uniform() * spacing, height, spacing):
        draw.text((-random.uniform() * font.size, top), _line(random, width, font.size), fill=255, font=font)
    ink, paper = _colours(random)
    alpha = np.asarray(coverage, np.float32)[..., None] / 255
    return alpha * ink + (1 - alpha) * paper


def _line(random: np.random.RandomState, width: int, size: int) -> str:
    """Enough random words to fill a line of `width` pixels in a font of `size` pixels."""
    words, letters = [], 0
    while letters * size < 4 * width:  # the narrowest letters are a quarter as wide as the font is high
        count = random.randint(1, 11)
        words.append("".join(LETTERS[i] for i in random.randint(len(LETTERS), size=count)))
        letters += count + 1
    return " ".join(words)


def _colours(random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Colours of ink and paper, float32 (3,): half of them nearly black on nearly white, the others any that differ."""
    if random.uniform() < 0.5:
        return np.full(3, random.uniform(0, 0.15), np.float32), np.full(3, random.uniform(0.85, 1), np.float32)
    while True:
        ink, paper = random.uniform(size=(2, 3)).astype(np.float32)
        if abs(ink.mean() - paper.mean()) >= LEAST_CONTRAST:
            return ink, paper


@cache
def _font_files() -> list[str]:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    paths = [path for path in folder.glob("*.ttf") if path.stem.startswith(FONTS)]
    return sorted(str(path) for path in paths if "Display" not in path.stem)  # those hold symbols instead of letters


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
