"""Reads a COCO file: ``bbox`` is [x, y, width, height] in pixels from the top left corner.

A document's outline comes from ``segmentation``, a list of polygons [x, y, x, y, ...], or from the box's rotation.
Sources: COCO, "Data format"; CVAT, "COCO" (``attributes.rotation``: degrees clockwise about the box's centre).
"""

import json
from collections.abc import Collection, Iterator, Mapping
from math import isfinite
from typing import Any, NamedTuple

from rules.entries import (
    UNKNOWN,
    Drawn,
    Entry,
    Place,
    Problem,
    Source,
    Unreadable,
    fault_of_frame,
    fault_of_size,
    place_boxes,
)
from rules.geometry import Corners, Frame, around, corners_of, hull, overlap
from rules.lines import MAX_BOXES, Box, Labelled, Unusable, is_frame, whole
from rules.matching import Claims, Match, file_name
from rules.words import escaped, quoted

PARTS = ("images", "annotations", "categories")
KEYS = frozenset(
    {*PARTS, "id", "name", "file_name", "width", "height", "image_id", "category_id", "bbox", "attributes", "rotation"}
)
# A polygon with more corners, after its concave parts are filled, is no document's, and costs memory.
MOST_CORNERS = 40
# The least IoU of a polygon's bounding box with the box. With less, one of them is wrong, and the box is trained on.
SAME_PLACE = 0.8
# A polygon whose corners are all this near to the box's, in pixels, is the box: some tools write one for each box.
IS_THE_BOX = 1.5
OUTLINE = "outline"
NEITHER = (
    f"is neither a COCO file, which has lists named {', '.join(PARTS)}, nor a Ground Truth output manifest, whose "
    "lines are JSON with a source-ref"
)
Id = int | str


class _Image(NamedTuple):
    """An image of the file. ``size`` is its width and height as the file has them; they may be of any type."""

    place: Place
    own_id: Id
    path: str
    size: tuple[Any, Any]


class _Annotated(NamedTuple):
    """An annotation. ``label`` is the name of its category."""

    label: str
    drawn: Drawn
    place: Place
    own_id: Id | None


def parse(data: bytes) -> dict[str, Any]:
    """Parse the file. Keys that this module does not read are left out to save memory.

    ``segmentation`` becomes `OUTLINE`, the hull of its polygons, which needs less memory.

    Raises:
        Unreadable: the file is not JSON, or one of `PARTS` is missing.
    """

    def lean(part: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in part.items() if key in KEYS}
        if "segmentation" in part and (outline := _outline(part["segmentation"])):
            kept[OUTLINE] = outline
        return kept

    try:
        document = json.loads(data, object_hook=lean)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{NEITHER}: it is not valid JSON: {error}.") from None
    if isinstance(document, list):
        raise Unreadable(f"{NEITHER}: it is a JSON list, as Label Studio's own JSON is. Export the labels as COCO.")
    missing = [part for part in PARTS if not isinstance(document, dict) or not isinstance(document.get(part), list)]
    if missing:
        raise Unreadable(f"{NEITHER}: these lists are missing: {', '.join(missing)}.")
    return dict(document)


def read(document: dict[str, Any], source: Source) -> Iterator[Entry]:
    """Yield an entry for each image, with the boxes of its annotations. Empties ``document`` to free memory."""
    categories = _categories(document["categories"], source)
    images = _images(document.pop("images"), source)
    photo_names = _find_photos(images.values(), source)
    usable = {image_id for image_id, name in photo_names.items() if name is not None and not source.missing(name)}
    annotated: set[Id] = set()
    boxes: dict[Id, list[_Annotated]] = {image_id: [] for image_id in usable}
    annotations = document.pop("annotations")
    for number, annotation in enumerate(annotations, 1):
        annotations[number - 1] = None
        place = Place("annotation", number)
        if not isinstance(annotation, dict):
            source.report(Problem(place, "InvalidAnnotation", "it is not a JSON object"))
            continue
        own_id, image_id = _id(annotation.get("id")), _id(annotation.get("image_id"))
        if image_id is None or image_id not in images:
            reason = f"no image has its image_id {quoted(annotation.get('image_id'))}{_hint_at_type(image_id, images)}"
            source.report(Problem(place, "UnknownImage", reason, own_id))
            continue
        annotated.add(image_id)
        if image_id in usable:
            box = _box(annotation, categories, source)
            if isinstance(box, Unusable):
                source.report(Problem(place, *box, own_id))
            else:
                boxes[image_id].append(_Annotated(*box, place, own_id))

    for image_id, name in photo_names.items():
        image = images[image_id]
        if image_id not in usable:
            reason_missing = source.missing(name) if name else None
            yield Entry(name or file_name(image.path), reason_missing or UNKNOWN, image_id in annotated)
        elif name and (labels := _labelled(name, image, boxes[image_id], source)):
            yield Entry(name, labels, has_labels=True)


def _categories(categories: list[Any], source: Source) -> dict[Id, str]:
    """Return the categories' names by id. An id may be repeated only with the same name."""
    names: dict[Id, str] = {}
    first: dict[str, Id] = {}
    for number, category in enumerate(categories, 1):
        place = Place("category", number)
        own_id = _id(category.get("id")) if isinstance(category, dict) else None
        if own_id is None or not isinstance(category.get("name"), str):
            source.report(Problem(place, "InvalidCategory", "it needs an id and a name", own_id))
            continue
        name = category["name"]
        # Some tools treat 1 and "1" as the same id, others as two ids.
        earlier = names[first.setdefault(str(own_id), own_id)] if str(own_id) in first else name
        if earlier != name:
            reason = f"the categories {quoted(earlier)} and {quoted(name)} have the same id {quoted(own_id)}"
            source.report(Problem(place, "RepeatedId", reason, own_id))
            continue
        first.setdefault(str(own_id), own_id)
        names[own_id] = name
    return names


def _images(images: list[Any], source: Source) -> dict[Id, _Image]:
    """Return the images by id."""
    by_id: dict[Id, _Image] = {}
    ids: set[str] = set()
    for number, image in enumerate(images, 1):
        place = Place("image", number)
        own_id = _id(image.get("id")) if isinstance(image, dict) else None
        if own_id is None or not isinstance(image.get("file_name"), str):
            source.report(Problem(place, "InvalidImage", "it needs an id and a file_name", own_id))
        elif str(own_id) in ids:
            source.report(Problem(place, "RepeatedId", "an earlier image has this id too", own_id))
        else:
            ids.add(str(own_id))
            size = _whole(image.get("width")), _whole(image.get("height"))
            by_id[own_id] = _Image(place, own_id, image["file_name"], size)
    return by_id


def _find_photos(images: Collection[_Image], source: Source) -> dict[Id, str | None]:
    """Return the name of each image's photo by the image's id; None for an image without a photo.

    Leaves out images whose names have problems, and reports these problems.
    """
    claims = Claims()
    matches = []
    for image in images:
        match = Match(file_name(image.path)) if source.photos is None else source.names.find(image.path)
        claims.add(image.path, match)
        matches.append(match)
    by_id: dict[Id, str | None] = {}
    names: set[str] = set()
    for image, match in zip(images, matches, strict=True):
        name = claims.resolve(match)
        if isinstance(name, list):
            source.report(Problem(image.place, *ambiguous(name), image.own_id))
        elif name is not None and name in names:
            reason = f"an earlier image has the file name {escaped(name)} too"
            source.report(Problem(image.place, "RepeatedPhoto", reason, image.own_id))
        else:
            by_id[image.own_id] = name
            if name is not None:
                names.add(name)
    return by_id


def ambiguous(names: list[str]) -> Unusable:
    """The reason for refusing an image whose name may mean any of ``names``."""
    return Unusable(
        "AmbiguousName", f"{' and '.join(map(quoted, names))} are too similar: use the photo's exact file name"
    )


def _box(annotation: Mapping[str, Any], categories: Mapping[Id, str], source: Source) -> tuple[str, Drawn] | Unusable:
    """Return the annotation's document type and box, or what is wrong with the annotation."""
    category_id, bbox = _id(annotation.get("category_id")), annotation.get("bbox")
    if category_id is None or category_id not in categories:
        reason = f"no category has its category_id {quoted(annotation.get('category_id'))}"
        return Unusable("UnknownCategory", reason + _hint_at_type(category_id, categories))
    label = categories[category_id]
    if fault := source.fault_of_type(label):
        return fault
    if not isinstance(bbox, list) or len(bbox) != 4 or not is_frame(bbox):
        return Unusable(
            "InvalidBox",
            f"its bbox needs finite x, y, width and height in pixels, width and height above 0, not {quoted(bbox)}",
        )
    left, top, width, height = bbox
    if fault := fault_of_frame((left, top, width, height), None):
        return fault
    degrees = _rotation(annotation)
    if isinstance(degrees, Unusable):
        return degrees
    if degrees % 360 == 0:
        frame = left, top, width, height
        return label, Drawn(frame, _polygon(annotation.get(OUTLINE), frame))
    corners = corners_of((left, top, width, height), degrees)
    return label, Drawn(around(corners), corners)


def _outline(segmentation: object) -> Corners | None:
    """Return the hull of a segmentation's polygons. None if it has none, such as a mask, or cannot be a document's."""
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        return None
    points: list[tuple[float, float]] = []
    for polygon in segmentation:
        if len(polygon) % 2 or not is_frame(polygon):
            return None
        points += zip(polygon[::2], polygon[1::2], strict=True)
    corners = hull(points)
    return corners if 4 <= len(corners) <= MOST_CORNERS else None


def _polygon(outline: Corners | None, frame: Frame) -> Corners | None:
    """Return the outline, or None if it says no more than the box, or is in another place."""
    if outline is None or overlap(around(outline), frame) < SAME_PLACE:
        return None
    near = [min(max(abs(x - a), abs(y - b)) for a, b in corners_of(frame)) for x, y in outline]
    return None if max(near) <= IS_THE_BOX else outline


def _rotation(annotation: Mapping[str, Any]) -> float | Unusable:
    """Return by how many degrees, clockwise, the annotation's box is turned, or what is wrong with the rotation."""
    attributes = annotation.get("attributes")
    values = [part["rotation"] for part in (attributes, annotation) if isinstance(part, dict) and "rotation" in part]
    rotations = set()
    for value in values:
        try:
            degrees = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            degrees = float("nan")
        if not isfinite(degrees):
            return Unusable("InvalidRotation", f"its rotation must be a number of degrees, not {quoted(value)}")
        rotations.add(degrees)
    if len(rotations) > 1:
        return Unusable("InvalidRotation", f"it has two rotations, {' and '.join(map(quoted, values))}: keep one")
    return rotations.pop() if rotations else 0.0


def _labelled(name: str, image: _Image, boxes: list[_Annotated], source: Source) -> Labelled | None:
    """Return the photo's labels, or None after reporting their problems."""
    photo = source.photos[name] if source.photos is not None else None
    width, height = (photo.width, photo.height) if photo else image.size
    placed = [box.drawn for box in boxes]
    if photo and image.size != (width, height):
        on_photo = place_boxes(placed, image.size, name, photo)
        if isinstance(on_photo, Unusable):
            source.report(Problem(image.place, *on_photo, image.own_id))
            return None
        placed = on_photo
    elif fault := fault_of_size(image.size):
        source.report(Problem(image.place, *fault, image.own_id))
        return None
    good = True
    for drawn, box in zip(placed, boxes, strict=True):
        if fault := fault_of_frame(drawn.frame, photo):
            source.report(Problem(box.place, *fault, box.own_id))
            good = False
    if len(boxes) > MAX_BOXES:
        reason = f"it has {len(boxes)} boxes; Rekognition takes at most {MAX_BOXES}"
        source.report(Problem(image.place, "TooManyBoxes", reason, image.own_id))
        good = False
    if not good:
        return None
    rounded = [_in_whole_pixels(box.label, drawn) for box, drawn in zip(boxes, placed, strict=True)]
    corners = [drawn.corners for drawn in placed]
    turned = corners if any(corners) else ()
    return Labelled("", width, height, 3, rounded, "yes", source.created, source.job_name, turned)


def _in_whole_pixels(label: str, drawn: Drawn) -> Box:
    left, top, width, height = drawn.frame
    right, bottom = round(left + width), round(top + height)
    left, top = round(left), round(top)
    return Box(label, left, top, right - left, bottom - top, 1)


def _id(value: object) -> Id | None:
    """Return ``value`` as an id (1.0 as 1), or None if it is neither a whole number nor text."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) in (int, str) else None  # type: ignore[return-value]


def _whole(value: object) -> object:
    """Return ``value`` as an int if it is a whole number (640.0 as 640), and any other value unchanged."""
    try:
        return whole(value)
    except ValueError:
        return value


def _hint_at_type(wrong: Id | None, ids: Mapping[Id, Any]) -> str:
    """Return a hint if ``ids`` has the number as text, or the text as a number; empty otherwise."""
    for own_id in (
        str(wrong),
        int(wrong) if isinstance(wrong, str) and wrong.isdecimal() and len(wrong) < 19 else None,
    ):
        if own_id is not None and own_id in ids:
            return f", but {quoted(own_id)} exists: write both with quotation marks or both without"
    return ""
