"""Reads pictures with RapidOCR: a path on each line of standard input, a JSON list of texts on each line of output.

`bench/ocr.py` runs it with a Python of its own, which has bench/requirements.txt.
"""

import json
import sys

from rapidocr import RapidOCR

# One thread: more of them wait for each other in a loop, which takes minutes on a busy machine.
engine = RapidOCR(params={"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": 1})
for path in sys.stdin:
    result = engine(path.strip())
    print(json.dumps(list(result.txts or ())), flush=True)
