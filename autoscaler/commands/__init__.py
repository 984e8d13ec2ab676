"""The subcommands of `autoscaler`: each module has `add_arguments(parser)` and `run(args)`."""
