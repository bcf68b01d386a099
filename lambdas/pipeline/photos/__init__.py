"""What the pipeline does with the photos: decoding, metadata, quality, groups of similar photos, and the split."""

MEMORY = 256 * 1024 * 1024
"""The address space of the process that decodes, in bytes, including its programs and the photo."""
CPU_SECONDS = 20
"""The processor time that one photo may take."""
OUT_OF_MEMORY = 3
"""The exit code of a process that ran out of memory."""

GREY_SIDE = 128
"""Width and height, in pixels, of the small grey copy by which photos are compared. All photos are scaled to it."""
