"""The command line: one file a command."""

# What `bptt train` learns from a file of sequences: the names of `bptt.commands.jobs.WORDS`.
DATA_JOBS = ("classify", "label", "regress", "forecast")
