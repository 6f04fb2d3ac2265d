"""The command line: a file for each topic, with the commands and what they do."""


def main() -> None:
    """Run the command line; this is what `chopmark` and `python -m chopmark` start."""
    from chopmark.cli.command_line import main as run

    run()
