"""One module for each sub-command. Each gives `app`, a `typer.Typer`; `flexpact.cli` loads it when it is called for."""
