"""One module for each sub-command, each with an `app` (`typer.Typer`), loaded by `flexpact.cli`."""
