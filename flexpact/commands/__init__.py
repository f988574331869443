"""One module for each sub-command, each with its `app`, a `typer.Typer`; `flexpact.cli` loads it when called."""
