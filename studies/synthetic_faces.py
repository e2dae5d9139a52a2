"""Small drawings of faces in the formats of VGGFace2, CALFW, CPLFW, AgeDB-30 and CFP.

They stand in where the photographs are not at hand: they show that training and verification
work, and nothing about how well they do on people.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 48


def draw_face(identity: np.ndarray, rng: np.random.Generator, *, turn: float = 0.0) -> Image.Image:
    """Draw one face; ``identity`` holds 12 numbers in [0, 1], ``turn`` turns it to the side."""
    skin, hair, iris = (tuple(int(40 + 200 * v) for v in identity[i : i + 3]) for i in (0, 3, 6))
    width, eyes, mouth = 12 + 7 * identity[9], 4 + 5 * identity[10], 3 + 7 * identity[11]
    light, x, y = rng.uniform(0.75, 1.2), SIDE / 2 + rng.uniform(-2, 2), 25 + rng.uniform(-2, 2)
    image = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in rng.integers(30, 200, 3)))
    pen = ImageDraw.Draw(image)
    pen.ellipse((x - width - 2, y - 22, x + width + 2, y + 10), fill=hair)
    pen.ellipse((x - width, y - 17, x + width, y + 18), fill=skin)
    shift = 6 * turn
    for side in (-1, 1):
        centre = x + side * eyes + shift
        pen.ellipse((centre - 3, y - 6, centre + 3, y), fill="white")
        pen.ellipse((centre - 1.5, y - 5, centre + 1.5, y - 1), fill=iris)
    pen.ellipse((x - mouth + shift, y + 8, x + mouth + shift, y + 11), fill=(150, 40, 50))
    noisy = np.asarray(image) * light + rng.normal(0, 8, (SIDE, SIDE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def write_training(folder: Path, people: int, images: int, noise: float, seed: int = 0) -> None:
    """Write ``folder/train/n000001/0001.jpg``; a share of the images lies with another person."""
    rng = np.random.default_rng(seed)
    identities = rng.random((people, 12))
    for person in range(people):
        place = folder / "train" / f"n{person + 1:06d}"
        place.mkdir(parents=True)
        for number in range(images):
            shown = rng.integers(people) if rng.random() < noise else person
            face = draw_face(identities[shown], rng, turn=rng.uniform(-1, 1))
            face.save(place / f"{number + 1:04d}_01.jpg", quality=95)


def write_tests(folder: Path, people: int, pairs: int, seed: int = 1) -> None:
    """Write four tests of ``2 * pairs`` pairs each, of people who are not in the training."""
    rng = np.random.default_rng(seed)
    identities = rng.random((people, 12))
    same = [(p, p) for p in rng.integers(people, size=pairs)]
    others = [tuple(rng.choice(people, 2, replace=False)) for _ in range(pairs)]
    _write_two_lines(folder / "calfw", "pairs_CALFW.txt", identities, same, others, rng)
    _write_two_lines(folder / "cplfw", "pairs_CPLFW.txt", identities, same, others, rng, turn=1.0)
    _write_three_words(folder / "agedb", identities, same, others, rng)
    _write_cfp(folder / "cfp", identities, same, others, rng)


Pairs = list[tuple[int, int]]


def _write_two_lines(
    folder: Path,
    name: str,
    identities: np.ndarray,
    same: Pairs,
    others: Pairs,
    rng: np.random.Generator,
    turn: float = 0.0,
) -> None:
    images = folder / "aligned images"
    images.mkdir(parents=True)
    lines = []
    for kind, pairs in ((1, same), (0, others)):
        for number, people in enumerate(pairs):
            flag = kind * (1 + 10 * number // len(pairs))  # the fold; 0 for different people
            for position, person in enumerate(people):
                file = f"Person_{person}_{len(lines) + 1:04d}.jpg"
                face = draw_face(identities[person], rng, turn=turn * (1 - 2 * position))
                face.save(images / file, quality=95)
                lines.append(f"{file} {flag}")
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_three_words(
    folder: Path, identities: np.ndarray, same: Pairs, others: Pairs, rng: np.random.Generator
) -> None:
    (folder / "imgs").mkdir(parents=True)
    lines = []
    for flag, pairs in ((1, same), (0, others)):
        for people in pairs:
            files = []
            for person in people:
                files.append(f"imgs/{2 * len(lines) + len(files)}.jpg")
                draw_face(identities[person], rng).save(folder / files[-1], quality=95)
            lines.append(f"{files[0]} {files[1]} {flag}")
    (folder / "agedb_30_pair.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_cfp(
    folder: Path, identities: np.ndarray, same: Pairs, others: Pairs, rng: np.random.Generator
) -> None:
    lists: dict[str, list[str]] = {"F": [], "P": []}
    first: dict[str, dict[int, int]] = {"F": {}, "P": {}}
    for kind, word, count in (("F", "frontal", 4), ("P", "profile", 2)):
        for person, identity in enumerate(identities):
            place = folder / "Data" / "Images" / f"{person + 1:03d}" / word
            place.mkdir(parents=True)
            first[kind][person] = len(lists[kind]) + 1
            for number in range(count):
                face = draw_face(identity, rng, turn=1.0 if kind == "P" else 0.0)
                face.save(place / f"{number + 1:02d}.jpg", quality=95)
                path = f"../Data/Images/{person + 1:03d}/{word}/{number + 1:02d}.jpg"
                lists[kind].append(f"{len(lists[kind]) + 1} {path}")
    protocol = folder / "Protocol"
    protocol.mkdir()
    for kind, listed in lists.items():
        text = "\n".join(listed) + "\n"
        (protocol / f"Pair_list_{kind}.txt").write_text(text, encoding="utf-8")
    for split, second in (("FF", "F"), ("FP", "P")):
        for fold in range(10):
            place = protocol / "Split" / split / f"{fold + 1:02d}"
            place.mkdir(parents=True)
            for file, pairs in (("same.txt", same), ("diff.txt", others)):
                lines = [
                    f"{first['F'][a]},{first[second][b] + (1 if second == 'F' and a == b else 0)}"
                    for a, b in pairs[fold::10]
                ]
                (place / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
