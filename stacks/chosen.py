"""Prints the settings of a deployment as JSON: ``python -m stacks.chosen -c labelProvider=supplied``.

For programs that must not import this package, or that should not wait until the CDK is loaded.
"""

import argparse
import sys
from collections.abc import Sequence

from stacks.settings import Settings, SettingsError, committed


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m stacks.chosen", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    parser.add_argument("--region", default="", help="the Region of the credentials")
    options = parser.parse_args(arguments)
    overrides = {key: value for key, _, value in (text.partition("=") for text in options.context)}
    try:
        settings = Settings.from_context(committed() | overrides, region=options.region)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    print(settings.model_dump_json(by_alias=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
