"""
Settings as frozen dataclasses: the sentence of a field is the help of its option on the command line.

A class of settings checks itself when it is made, is kept beside the result, and is compared with what is kept there
before a result is continued.
"""

import argparse
import dataclasses
import json
from typing import Any, TypeVar

T = TypeVar("T")


def setting(sentence: str, default: Any = dataclasses.MISSING, choices: tuple[str, ...] | None = None) -> Any:
    """Return a dataclass field with its help, its default (none: required) and the values it may take."""
    return dataclasses.field(default=default, metadata={"help": sentence, "choices": choices})


def add_setting_arguments(parser: argparse.ArgumentParser, settings_class: type, skip: tuple[str, ...] = ()) -> None:
    """
    Give `parser` one option per setting of `settings_class`, except those named in `skip`.

    A setting that is true or false becomes a pair of options, `--name` and `--no-name`.
    """
    group = parser.add_argument_group("settings (kept with the result)")
    for field in dataclasses.fields(settings_class):
        if field.name in skip:
            continue
        is_required = field.default is dataclasses.MISSING
        option = f"--{field.name.replace('_', '-')}"
        sentence = field.metadata["help"] + ("" if is_required else " (default: %(default)s)")
        if field.type is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(option, action=action, default=field.default, help=sentence)
            continue
        group.add_argument(
            option,
            type=field.type if isinstance(field.type, type) else str,
            required=is_required,
            default=None if is_required else field.default,
            choices=field.metadata["choices"],
            help=sentence,
        )


def settings_from(settings_class: type[T], values: dict[str, Any]) -> T:
    """Build settings from those of `values` that `settings_class` has, such as `vars()` of parsed arguments."""
    names = {field.name for field in dataclasses.fields(settings_class)}  # type: ignore[arg-type]
    return settings_class(**{name: value for name, value in values.items() if name in names})


def differences(kept: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Name the settings in which what is kept and what is wanted differ, one phrase each."""
    return [
        f"{name} was {json.dumps(kept.get(name))} and is now {json.dumps(value)}"
        for name, value in wanted.items()
        if kept.get(name) != value
    ]
