"""Pages of random text, so that a network sees lines of print too; drawn with the fonts that matplotlib brings."""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "cmr10", "cmss10", "cmtt10")
"""of each those that come with matplotlib, bold and italic ones included"""
LETTERS = "etaoinshrdlcumwfgypbvkjxqzETAOINSHRDLC0123456789.,:;-"
SMALLEST, LARGEST = 8, 40
"""height of a font in pixels"""
LONGEST = 512
"""longest side of a page in pixels: drawing more than a patch shows takes time"""
LEAST_CONTRAST = 0.35
"""between the means of ink and paper"""


def text_page(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Lines of random words in one font and ink on plain paper: float32 (height, width, 3) in [0, 1]."""
    font = _font(random.choice(_font_files()), int(SMALLEST * (LARGEST / SMALLEST) ** random.uniform()))
    spacing = random.uniform(1.1, 2.0) * font.size
    coverage = Image.new("L", (width, height))
    draw = ImageDraw.Draw(coverage)
    for top in np.arange(-random.uniform() * spacing, height, spacing):
        draw.text((-random.uniform() * font.size, top), _line(random, width, font.size), fill=255, font=font)
    ink, paper = _colours(random)
    share = np.asarray(coverage, np.float32)[..., None] / 255
    return share * ink + (1 - share) * paper


def _line(random: np.random.RandomState, width: int, size: int) -> str:
    """Words enough to cross `width` pixels."""
    words, letters = [], 0
    while letters * size < 4 * width:  # the narrowest letters are a quarter as wide as high
        count = random.randint(1, 11)
        words.append("".join(LETTERS[i] for i in random.randint(len(LETTERS), size=count)))
        letters += count + 1
    return " ".join(words)


def _colours(random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Ink and paper, float32 (3,): half of them black on white, or nearly; the others any that differ enough."""
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
    return sorted(str(path) for path in paths if "Display" not in path.stem)  # symbols, no letters


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
