"""What the pipeline does with the photos: decoding, metadata, quality, groups of similar photos, and the split."""

GREY_SIDE = 128
"""Width and height, in pixels, of the small grey copy by which photos are compared. All photos are scaled to it."""
