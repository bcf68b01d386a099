"""Draws and photographs made-up documents, for tests of what finds documents in photos."""

from __future__ import annotations

import cv2
import numpy as np

from outlines import Box

TYPES = ("ID_CARD", "PASSPORT", "PERMIT")
FRAME = (480, 360)
CAMERA_DISTANCE = 700  # pixels


def draw_document(label: str) -> np.ndarray:
    """A made-up document, 400 x 252: lines of text and a portrait that differ by type."""
    random = np.random.default_rng(sum(label.encode()))
    colours = random.integers(0, 140, (12, 3)).tolist()
    document = np.full((252, 400, 3), random.integers(190, 250, 3), np.uint8)
    cv2.putText(document, label, (20, 36), cv2.FONT_HERSHEY_DUPLEX, 1.1, colours[0], 2)
    cv2.circle(document, (70, 130), 42, colours[1], -1)
    cv2.circle(document, (62, 120), 7, (255, 255, 255), -1)
    for line in range(9):
        text = "".join(chr(code) for code in random.integers(65, 91, 15))
        cv2.putText(document, text, (135, 70 + 21 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colours[2 + line], 1)
    return document


def photograph(
    documents: list[tuple[str, float, tuple[float, float], float]], seed: int
) -> tuple[np.ndarray, list[Box], list[np.ndarray]]:
    """A photo (BGR) of documents (label, angle in degrees, centre, width), with their boxes and true outlines."""
    random = np.random.default_rng(seed)
    width, height = FRAME
    noise = random.integers(60, 200, (height // 40, width // 40, 3), np.uint8)
    image = cv2.resize(noise, FRAME, interpolation=cv2.INTER_CUBIC)
    boxes, outlines = [], []
    for label, angle, centre, size in documents:
        document = draw_document(label)
        h, w = document.shape[:2]
        half = np.array([[-1, -h / w], [1, -h / w], [1, h / w], [-1, h / w]]) * size / 2
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        flat = half @ np.array([[cos, sin], [-sin, cos]])
        tilt = random.uniform(-0.3, 0.3, 2)
        outline = flat * np.cos(tilt) / (1 + flat @ np.sin(tilt)[:, None] / CAMERA_DISTANCE) + centre
        matrix = cv2.getPerspectiveTransform(
            np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32), outline.astype(np.float32)
        )
        cv2.warpPerspective(document, matrix, FRAME, dst=image, borderMode=cv2.BORDER_TRANSPARENT)
        near, far = np.clip(outline.min(axis=0), 0, FRAME), np.clip(outline.max(axis=0), 0, FRAME)
        boxes.append(Box(label, *(float(value) for value in (*near, *(far - near)))))
        outlines.append(outline)
    image = np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    return image, boxes, outlines
