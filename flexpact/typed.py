"""What a person typed, where it must be text and not the name of a file."""

import typer


def text(typed: str) -> str:
    """The same; BadParameter for bytes that are no UTF-8, which no name or reason can be."""
    try:
        typed.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter(f"it is not UTF-8 at letter {error.start + 1}") from None
    return typed
