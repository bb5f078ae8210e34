"""The command line: a typer app, a module a command group; prints and exits, nothing else."""
